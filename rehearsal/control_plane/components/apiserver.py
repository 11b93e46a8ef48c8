"""kube-apiserver."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe

SERVICE_RANGE = "10.96.0.0/16"
# The first address of the range is the ClusterIP of the Service kubernetes.
SERVICE_ADDRESS = "10.96.0.1"
# Common name of the API server's client certificate for aggregated API servers.
FRONT_PROXY_NAME = "front-proxy-client"

# The default plugins, listed because the tests of quotas, limits and policies depend on them.
ADMISSION = (
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "MutatingAdmissionPolicy",
    "ValidatingAdmissionPolicy",
    "ResourceQuota",
)
# No pod serves the webhooks that charts register: each write of the kinds they match would fail or time out.
NO_ADMISSION = ("MutatingAdmissionWebhook", "ValidatingAdmissionWebhook")


def build_apiserver(config: PlaneConfig) -> Component:
    """Return the API server, with its own CA, RBAC and no anonymous access."""
    address = f"https://{config.host}:{config.ports.apiserver}"
    return Component(
        name="kube-apiserver",
        tool="kube-apiserver",
        args=(
            f"--bind-address={config.host}",
            f"--advertise-address={config.host}",
            f"--secure-port={config.ports.apiserver}",
            f"--etcd-servers=https://{config.host}:{config.ports.etcd}",
            f"--etcd-cafile={config.cert('ca')}",
            f"--etcd-certfile={config.cert('server')}",
            f"--etcd-keyfile={config.key('server')}",
            f"--tls-cert-file={config.cert('server')}",
            f"--tls-private-key-file={config.key('server')}",
            f"--client-ca-file={config.cert('ca')}",
            f"--service-account-key-file={config.key('service-account')}",
            f"--service-account-signing-key-file={config.key('service-account')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            "--allow-privileged=true",
            f"--enable-admission-plugins={','.join(ADMISSION)}",
            f"--disable-admission-plugins={','.join(NO_ADMISSION)}",
            # There is one API server, and no pod reaches it through the Service kubernetes.
            "--endpoint-reconciler-type=none",
            # The aggregation layer (custom.metrics.k8s.io) passes the user's name in a header and authenticates
            # with a certificate that only the API server has.
            f"--requestheader-client-ca-file={config.cert('ca')}",
            f"--requestheader-allowed-names={FRONT_PROXY_NAME}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={config.cert('front-proxy')}",
            f"--proxy-client-key-file={config.key('front-proxy')}",
            "--event-ttl=30m",
            "--profiling=false",
            "--v=1",
        ),
        probe=Probe(f"{address}/readyz", secure=True),
        ports=(config.ports.apiserver,),
        depends_on=("etcd",),
    )
