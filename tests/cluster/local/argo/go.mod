// Argo's workflow controller, and the program beside every task; `../build.sh` builds from it.
module nasflow.dev/cluster/argo

go 1.25.7

require github.com/argoproj/argo-workflows/v4 v4.0.5
