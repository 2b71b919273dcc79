#!/bin/sh
# Used while an image is built (see containers/Dockerfile): installs a locked list, or our own wheel, into /opt/venv.
#   install-locked.sh LIST.txt | WHEEL.whl
set -eu
export UV_CACHE_DIR=/root/.cache/uv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_HTTP_TIMEOUT=180
# Not HOME's cache: only this folder is a cache mount, anything else would end up in the layer.
if [ -s /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi
case "$1" in
  *.whl) /opt/uv/bin/uv pip install --quiet --no-cache --offline --no-deps "$1" ;;
  *) /opt/uv/bin/uv pip install --quiet --require-hashes --requirements "$1" ;;
esac
rm -f /opt/venv/.lock /tmp/uv-*.lock # locks of uv, writable by all

# What nothing opens at run time: TensorFlow's C++ headers alone are 264 MB. scikit-learn keeps its tests, whose docstrings
# are rows of sample:docstrings.
cd /opt/venv/lib/python3.*/site-packages
rm -rf tensorflow/include pyarrow/include pyarrow/*flight* # Arrow Flight: a server and client that no step starts
rm -rf onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers # the C library once more, and tools for exporters
for package in numpy scipy pandas matplotlib networkx pyarrow; do
  if [ -d "$package" ]; then find "$package" -type d -name tests -prune -exec rm -rf {} +; fi
done
# CUDA's libraries whose names and functions are in no file of TensorFlow or of the other libraries: nobody links or opens
# them. Headers stay (cuDNN compiles with them), and so does NCCL, which TensorFlow opens where it wants several GPUs.
rm -f nvidia/curand/lib/libcurand.so.* nvidia/cusolver/lib/libcusolverMg.so.* nvidia/cuda_nvrtc/lib/*.alt.so.*
if [ -d nvidia ]; then find nvidia -name '*.a' -delete; fi
