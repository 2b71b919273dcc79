# Read by build.sh and push.sh, at the repository's root: what an image is called, and which client makes it.
#
#   PREFIX (nasflow), DOCKER (the client)

# A docker in /usr/local/bin may come without BuildKit's client; Debian's own has it built in.
docker="${DOCKER:-docker}"
[ -z "${DOCKER:-}" ] && [ -x /usr/bin/docker ] && docker=/usr/bin/docker

version="$(awk -F'"' '/^version = / {print $2; exit}' pyproject.toml)"

# image TARGET: its name, without the version
image() { echo "${PREFIX:-nasflow}/$1"; }
