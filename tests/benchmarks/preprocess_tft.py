"""The same table through tensorflow-transform 1.21, in an environment of its own (see `preprocess.py`).

    python preprocess_tft.py SOURCE OUTPUT

As its users write it: Arrow record batches in, z-scores, missing indicators and vocabularies with out-of-vocabulary
buckets in the preprocessing function, tf.Example TFRecords out. It counts nothing else: no distinct values, no
duplicates, no split by content (a hash of the row's number splits), no statistics, no report.
"""

import sys
import tempfile
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamples
from tfx_bsl.tfxio import tensor_adapter, tensor_representation_util  # registers the adapters

NUMBERS = [f"n{place}" for place in range(20)]
TEXTS = [f"c{place}" for place in range(10)]
LABEL = "label"


def preprocessing_fn(inputs):
    outputs = {}
    for name in NUMBERS:
        dense = tft.sparse_tensor_to_dense_with_shape(inputs[name], [None, 1], default_value=float("nan"))
        missing = tf.math.is_nan(dense)
        zeroed = tf.where(missing, tf.zeros_like(dense), dense)
        outputs[name] = tf.where(missing, tf.zeros_like(dense), tft.scale_to_z_score(zeroed))
        outputs[f"{name}_missing"] = tf.cast(missing, tf.float32)
    for name in TEXTS:
        outputs[name] = tft.compute_and_apply_vocabulary(inputs[name], top_k=10_000, num_oov_buckets=1024)
    outputs[LABEL] = tft.compute_and_apply_vocabulary(inputs[LABEL])
    return outputs


def _lists(batch):
    import pyarrow as pa

    columns = {}
    for name in batch.schema.names:
        column = batch[name]
        if name in NUMBERS:
            column = column.cast(pa.float32())
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        offsets = pa.array([0, *valid.cumsum().tolist()], pa.int32())
        columns[name] = pa.ListArray.from_arrays(offsets, column.drop_null())
    return pa.RecordBatch.from_pydict(columns)


def _batches(file):
    for batch in pq.ParquetFile(file).iter_batches(10_000, use_threads=False):
        yield _lists(batch)


def main(source, output):
    features = {name: tf.io.VarLenFeature(tf.float32) for name in NUMBERS}
    features |= {name: tf.io.FixedLenFeature([], tf.string) for name in [*TEXTS, LABEL]}
    schema = schema_utils.schema_from_feature_spec(features)
    representations = tensor_representation_util.InferTensorRepresentationsFromMixedSchema(schema)
    config = tensor_adapter.TensorAdapterConfig(
        arrow_schema=next(_batches(sorted(str(file) for file in Path(source).glob("*.parquet"))[0])).schema,
        tensor_representations=representations,
    )
    with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=tempfile.mkdtemp()):
        rows = (
            pipeline
            | beam.Create(sorted(str(file) for file in Path(source).glob("*.parquet")))
            | beam.Reshuffle()
            | beam.FlatMap(_batches)
        )
        (transformed, _), function = (rows, config) | tft_beam.AnalyzeAndTransformDataset(
            preprocessing_fn, output_record_batches=True
        )
        _ = function | tft_beam.WriteTransformFn(output)
        _ = (
            transformed
            | beam.FlatMapTuple(lambda batch, _: RecordBatchToExamples(batch))
            | beam.io.WriteToTFRecord(f"{output}/examples")
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
