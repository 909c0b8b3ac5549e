# SPDX-License-Identifier: Apache-2.0
"""A bucket as the oracle sees it: over boto3, an independent reader."""
import boto3
from botocore.config import Config

CONNECTIONS = 16
STEP = 1 << 20


def s3_client(endpoint, access_key, secret_key, region="us-east-1"):
    """A plain client: path style, no checksums of its own, patient."""
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name=region, aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=CONNECTIONS,
                      retries={"max_attempts": 4}))


class Bucket:
    """Lists and reads; never writes."""

    def __init__(self, client, name):
        self.client = client
        self.name = name

    def objects(self, prefix):
        """{key: (size, last modified)}"""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name,
                                                                      Prefix=prefix)
        return {item["Key"]: (item["Size"], item["LastModified"])
                for page in pages for item in page.get("Contents", [])}

    def uploads(self, prefix):
        """Keys of multipart uploads in progress; one key may have several."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.name,
                                                                             Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Uploads", [])]

    def read(self, key):
        """The object in pieces."""
        body = self.client.get_object(Bucket=self.name, Key=key)["Body"]
        while chunk := body.read(STEP):
            yield chunk

    def empty(self):
        """Deletes everything: for the fixtures, not for the oracle."""
        for item in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=self.name, Key=item["Key"],
                                               UploadId=item["UploadId"])
        for key in self.objects(""):
            self.client.delete_object(Bucket=self.name, Key=key)
