"""`nasflow.data.transforms.hashing` as a graph."""

from typing import Any

import tensorflow as tf

from nasflow.data.transforms.hashing import BASE, MOST_BYTES, POWERS, PRIME


def hash_texts(texts: Any) -> Any:
    """int64 [n] of strings [n]."""
    lengths = tf.cast(tf.strings.length(texts), tf.int64)  # in bytes
    width = tf.cast(tf.clip_by_value(tf.reduce_max(tf.concat([lengths, [1]], axis=0)), 1, MOST_BYTES), tf.int32)
    padded = tf.io.decode_raw(tf.strings.substr(texts, 0, MOST_BYTES), tf.uint8, fixed_length=width)
    terms = tf.cast(padded, tf.int64) * tf.constant(POWERS, tf.int64)[:width]
    return (tf.reduce_sum(terms, axis=1) + lengths % PRIME * BASE) % PRIME


def buckets_of(texts: Any, buckets: int) -> Any:
    """int64 [n], from 0 to `buckets` − 1."""
    return hash_texts(texts) % buckets
