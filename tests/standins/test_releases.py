"""``helm.sh/v3:Release`` through the helm binary: where charts come from, what failures leave, what drifts."""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import json
import ssl
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from inferstack.engine.properties import Secret
from inferstack.k8s import KubeClient
from inferstack.toolchain.binaries import ensure

pytestmark = pytest.mark.rehearsal

RELEASE = "kubernetes:helm.sh/v3:Release"
TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {greeting: {{ .Values.greeting | quote }}, version: {{ .Chart.Version }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: c, image: registry.invalid/c}]}
"""
SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 0}}}


def write_chart(folder: Path, version: str = "1.2.3") -> Path:
    chart = folder / "greeter"
    (chart / "templates").mkdir(parents=True, exist_ok=True)
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: greeter\nversion: {version}\nappVersion: '7'\n")
    (chart / "values.yaml").write_text("greeting: hello\nreplicas: 0\n")
    (chart / "values.schema.json").write_text(json.dumps(SCHEMA))
    (chart / "templates" / "all.yaml").write_text(TEMPLATE)
    return chart


def pack(chart: Path, target: Path) -> bytes:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(chart, "greeter")
    return target.read_bytes()


@pytest.fixture(autouse=True)
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The helm binary on PATH, with caches of this test alone."""
    binary = ensure(["helm"], report=lambda _: None)["helm"]
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"HELM_{name}_HOME", str(tmp_path / name.lower()))
    return binary


class Pages(ThreadingHTTPServer):
    """A loopback server of fixed answers: path to (content type, body)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {}
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def secure(self, folder: Path) -> Path:
        """Serve HTTPS from now on; returns the certificate to trust."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        chain = folder / "registry.pem"
        chain.write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        return chain


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        kind, body = self.server.pages.get(self.path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  # the base class names it

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[Pages]:
    server = Pages()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_release_from_a_folder(direct: Any, kube: KubeClient, namespace: str, tmp_path: Path) -> None:
    chart = write_chart(tmp_path)
    values = {"greeting": "hi", "nested": {"a": 1}}
    inputs = {"name": "greet", "chart": str(chart), "values": values, "timeout": 30}
    assert (await direct.create(RELEASE, "greet", inputs, preview=True)).id == ""
    assert await kube.find("v1", "ConfigMap", "greet-settings", namespace) is None

    release = await direct.create(RELEASE, "greet", inputs)
    assert release.id == f"{namespace}/greet"
    assert release.inputs["version"] == "1.2.3"
    assert (await kube.get("v1", "ConfigMap", "greet-settings", namespace))["data"]["greeting"] == "hi"
    status = release.state["status"]
    assert {key: status[key] for key in ("status", "revision", "chart", "version", "appVersion")} == {
        "status": "deployed",
        "revision": 1,
        "chart": "greeter",
        "version": "1.2.3",
        "appVersion": "7",
    }
    assert release.state["resourceNames"] == {
        "ConfigMap/v1": [f"{namespace}/greet-settings"],
        "Deployment/apps/v1": [f"{namespace}/greet"],
    }
    assert not (await direct.diff(release, inputs)).detailedDiff
    assert not (await direct.diff(await direct.read(release), inputs)).detailedDiff

    write_chart(tmp_path, "1.3.0")
    assert set((await direct.diff(release, inputs)).detailedDiff) == {"version"}, "a new chart is an upgrade"
    release = await direct.update(release, {**inputs, "values": {"greeting": "hey"}})
    assert release.state["status"]["revision"] == 2
    assert (await kube.get("v1", "ConfigMap", "greet-settings", namespace))["data"] == {
        "greeting": "hey",
        "version": "1.3.0",
    }
    diff = await direct.diff(release, {**inputs, "name": "other"})
    assert diff.replaces == ["name"]

    await direct.delete(release)
    assert await direct.read(release) is None
    assert await kube.find("v1", "ConfigMap", "greet-settings", namespace) is None
    await direct.delete(release)


async def test_release_from_a_repository_and_from_an_archive(
    direct: Any, kube: KubeClient, namespace: str, tmp_path: Path, pages: Pages
) -> None:
    body = pack(write_chart(tmp_path), tmp_path / "greeter-1.2.3.tgz")
    pages.pages["/greeter-1.2.3.tgz"] = ("application/gzip", body)
    entry = {"apiVersion": "v2", "name": "greeter", "version": "1.2.3", "urls": ["greeter-1.2.3.tgz"]}
    index = {"apiVersion": "v1", "entries": {"greeter": [entry]}}
    pages.pages["/index.yaml"] = ("text/yaml", json.dumps(index).encode())
    inputs = {"name": "repo", "chart": "greeter", "repositoryOpts": {"repo": pages.url}, "version": ">=1.0.0"}
    release = await direct.create(RELEASE, "repo", inputs)
    assert release.inputs["version"] == "1.2.3"
    assert (await direct.create(RELEASE, "tgz", {"name": "tgz", "chart": str(tmp_path / "greeter-1.2.3.tgz")})).id
    with pytest.raises(Exception, match=r"check the chart name and repository configuration"):
        await direct.check(RELEASE, "x", {**inputs, "chart": "no-such-chart"})


async def test_release_from_an_oci_registry(direct: Any, tmp_path: Path, pages: Pages) -> None:
    body = pack(write_chart(tmp_path), tmp_path / "chart.tgz")
    config = json.dumps({"name": "greeter", "version": "1.2.3", "apiVersion": "v2"}).encode()

    def blob(media: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        pages.pages[f"/v2/charts/greeter/blobs/{digest}"] = ("application/octet-stream", content)
        return {"mediaType": media, "digest": digest, "size": len(content)}

    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": blob("application/vnd.cncf.helm.config.v1+json", config),
            "layers": [blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", body)],
        }
    ).encode()
    media = "application/vnd.oci.image.manifest.v1+json"
    for reference in ("1.2.3", f"sha256:{hashlib.sha256(manifest).hexdigest()}"):
        pages.pages[f"/v2/charts/greeter/manifests/{reference}"] = (media, manifest)
    pages.pages["/v2/"] = ("application/json", b"{}")
    inputs = {
        "chart": f"oci://localhost:{pages.server_address[1]}/charts/greeter",
        "version": "1.2.3",
        "repositoryOpts": {"caFile": str(pages.secure(tmp_path))},
    }
    release = await direct.create(RELEASE, "oci", {**inputs, "name": "oci"})
    assert release.state["status"]["status"] == "deployed"


async def test_value_against_the_schema_fails_the_preview(direct: Any, tmp_path: Path) -> None:
    inputs = {"name": "bad", "chart": str(write_chart(tmp_path)), "values": {"replicas": -1}}
    with pytest.raises(Exception, match=r"(?s)replicas.*minimum"):
        await direct.create(RELEASE, "bad", inputs, preview=True)


async def test_failed_release_is_kept_and_repaired_by_the_next_update(
    direct: Any, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    inputs = {"name": "slow", "chart": str(write_chart(tmp_path)), "values": {"replicas": 1}, "timeout": 1}
    with pytest.raises(Exception, match="slow") as caught:  # no node: the Pod never gets ready
        await direct.create(RELEASE, "slow", inputs)
    refused: Any = caught.value
    assert refused.state["status"]["status"] == "failed"
    release = direct.made(
        RELEASE, "slow", refused.failed.id, await direct.check(RELEASE, "slow", inputs), refused.state
    )
    with pytest.raises(Exception, match="is failed"):
        await direct.read(release)
    mended = await direct.update(release, {**inputs, "values": {"replicas": 0}, "timeout": 30})
    assert mended.state["status"]["status"] == "deployed"


@pytest.mark.parametrize("revision", [1, 2])
async def test_interrupted_release_is_resumed(
    direct: Any, kube: KubeClient, namespace: str, tmp_path: Path, revision: int
) -> None:
    inputs = {"name": "cut", "chart": str(write_chart(tmp_path)), "timeout": 30}
    release = await direct.create(RELEASE, "cut", inputs)
    if revision == 2:
        release = await direct.update(release, {**inputs, "values": {"greeting": "two"}})
    # What a helm killed in the middle leaves: its newest revision is pending, which refuses every other helm.
    state = "pending-install" if revision == 1 else "pending-upgrade"
    name = f"sh.helm.release.v1.cut.v{revision}"
    await _set_status(kube, namespace, name, state)
    again = await direct.update(release, {**inputs, "values": {"greeting": "three"}})
    assert again.state["status"]["status"] == "deployed"
    assert (await kube.get("v1", "ConfigMap", "cut-settings", namespace))["data"]["greeting"] == "three"


async def _set_status(kube: KubeClient, namespace: str, name: str, state: str) -> None:
    """Rewrite the status inside helm's own record (gzip in base64 in base64) and on its label."""
    record = await kube.get("v1", "Secret", name, namespace)
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(record["data"]["release"]))))
    release["info"]["status"] = state
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()
    change = {"metadata": {"labels": {"status": state}}, "data": {"release": packed}}
    await kube.patch("v1", "Secret", name, change, namespace)


async def test_secret_values_stay_out_of_arguments_and_messages(direct: Any, tmp_path: Path) -> None:
    inputs = {
        "name": "s",
        "chart": str(write_chart(tmp_path)),
        "values": {"greeting": Secret("canary-greeting"), "replicas": 0},
    }
    release = await direct.create(RELEASE, "s", inputs)
    assert release.state["values"]["greeting"] == Secret("canary-greeting")
    assert release.state["__inputs"]["values"]["greeting"] == Secret("canary-greeting")
    response = await direct.read(release)
    assert response.inputs["values"]["greeting"] == Secret("canary-greeting")
    broken = {**inputs, "name": "t", "values": {"replicas": Secret("canary-replicas")}}
    with pytest.raises(Exception, match="replicas") as caught:
        await direct.create(RELEASE, "t", broken)
    assert "canary" not in str(caught.value)
