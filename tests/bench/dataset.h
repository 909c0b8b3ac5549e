/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synthetic dataset of the benchmark: names that the source gives out and that the relay,
 * which lists no batches, must know. A batch holds dataset files 0..n-1, each with one physical
 * file.
 */
#ifndef SLUICE_BENCH_DATASET_H
#define SLUICE_BENCH_DATASET_H

#define DATASET_ID        "65d0bench0000000000000001"
#define DATASET_VIEW      "65d0bench0000000000000002"
#define DATASET_BATCH     "01BENCHBATCH0000000%07d"
#define DATASET_FILE      DATASET_BATCH "-%d"
#define DATASET_FILE_NAME "part-00000-bench-c000.snappy.parquet"
#define DATASET_CATALOG   "/data/foundation/catalog/batches"
#define DATASET_EXPORT    "/data/foundation/export"

#endif
