# SPDX-License-Identifier: Apache-2.0
"""CRC-32C from a table: the fallback where awscrt is not installed."""


def table_row(value):
    """One entry of the table (polynomial 0x1EDC6F41, reflected)."""
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


TABLE = [table_row(value) for value in range(256)]


def crc32c(data, value=0):
    """CRC-32C of `data`, continuing from `value`."""
    value ^= 0xFFFFFFFF
    for byte in data:
        value = TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF
