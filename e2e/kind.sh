#!/usr/bin/env bash
# The cluster's end-to-end tests in a real cluster: kind, Istio from its own charts, our image and our chart.
#
#   e2e/kind.sh                 create, install, test, tear down
#   KEEP=1 e2e/kind.sh          leave the cluster for a look around (kind delete cluster --name proxyless)
#   e2e/kind.sh -k identity     what follows goes to pytest
#
# NOT RUN where there is no Docker: there, `make e2e` runs the same tests with --cluster=local.
# It needs docker, kind, kubectl and helm, and what `make setup` and e2e/cluster/build need.
set -euo pipefail
cd "$(dirname "$0")/.."

cluster=proxyless
image=proxyless-demo:$(sed -n 's/^appVersion: *//p' charts/proxyless-demo/Chart.yaml)
istio=${ISTIO_VERSION:-1.31.1}
repository=https://istio-release.storage.googleapis.com/charts

for program in docker kind kubectl helm; do
  if ! command -v "$program" >/dev/null; then
    echo "e2e/kind.sh: no '$program' on the PATH. Without Docker: make e2e (--cluster=local)" >&2
    exit 1
  fi
done
docker info >/dev/null || { echo "e2e/kind.sh: Docker does not answer. Without it: make e2e" >&2; exit 1; }

kubeconfig=$(mktemp)
export KUBECONFIG=$kubeconfig
finish() {
  status=$?
  if [ "$status" -ne 0 ]; then
    kubectl get pods --all-namespaces --output wide || true
    kubectl --namespace istio-system logs deployment/istiod --tail 100 || true
  fi
  if [ -z "${KEEP:-}" ]; then
    kind delete cluster --name "$cluster" || true
    rm -f "$kubeconfig"
  else
    echo "kept: export KUBECONFIG=$kubeconfig"
  fi
  exit "$status"
}
trap finish EXIT

echo "== image $image"
docker build --tag "$image" .

echo "== cluster $cluster"
kind create cluster --config kind-config.yaml --wait 120s
kind load docker-image "$image" --name "$cluster"

echo "== Istio $istio"
helm upgrade --install istio-base base --repo "$repository" --version "$istio" \
  --namespace istio-system --create-namespace --wait
helm upgrade --install istiod istiod --repo "$repository" --version "$istio" --namespace istio-system --wait

echo "== the chart, as its README says"
helm upgrade --install demo charts/proxyless-demo --namespace demo --create-namespace --wait --timeout 3m
helm uninstall demo --namespace demo --wait

echo "== the tests"
.venv/bin/python -m pytest e2e/cluster --cluster=kind "$@"
