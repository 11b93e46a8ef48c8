"""Certificates are made once, renewed in time and readable by their owner alone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509

from rehearsal.control_plane import pki
from rehearsal.control_plane.components.apiserver import build_apiserver
from rehearsal.control_plane.model import PlaneConfig, Ports
from rehearsal.simulators.prometheus.metrics_api import make_service

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_certificates_are_signed_by_ca_and_keys_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "pki"

    assert pki.ensure(folder, NOW)

    authority = certificate(folder, "ca")
    for name in (*pki.SERVERS, pki.FRONT_PROXY[0], *pki.CLIENTS):
        certificate(folder, name).verify_directly_issued_by(authority)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_client_certificates_carry_rbac_users_and_groups(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)

    assert certificate(tmp_path, "scheduler").subject.rfc4514_string() == "CN=system:kube-scheduler"
    assert certificate(tmp_path, "admin").subject.rfc4514_string() == "CN=inferstack-admin,O=system:masters"


def test_adapter_certificate_names_its_service(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)

    extension = certificate(tmp_path, "metrics-server").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    service = make_service(1)["metadata"]
    assert f"{service['name']}.{service['namespace']}.svc" in extension.value.get_values_for_type(x509.DNSName)


def test_only_front_proxy_certificate_may_impersonate(tmp_path: Path) -> None:
    """Clients are of the same authority: the common name alone tells the front proxy."""
    pki.ensure(tmp_path, NOW)

    name, common_name = pki.FRONT_PROXY
    assert certificate(tmp_path, name).subject.rfc4514_string() == f"CN={common_name}"
    assert common_name not in {cn for cn, _ in pki.CLIENTS.values()} | {cn for cn, _ in pki.SERVERS.values()}
    config = PlaneConfig(tmp_path, Ports(*range(20001, 20012)))
    assert f"--requestheader-allowed-names={common_name}" in build_apiserver(config).args


def test_second_ensure_changes_nothing(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert not pki.ensure(tmp_path, NOW + dt.timedelta(days=300))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_leaf_certificates_are_renewed_before_expiry(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)
    authority = (tmp_path / "ca.crt").read_bytes()

    assert pki.ensure(tmp_path, NOW + dt.timedelta(days=340))

    assert (tmp_path / "ca.crt").read_bytes() == authority
    assert certificate(tmp_path, "server").not_valid_after_utc > NOW + dt.timedelta(days=700)


def test_new_ca_reissues_all_certificates(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)

    assert pki.ensure(tmp_path, NOW + dt.timedelta(days=710))

    for name in (*pki.SERVERS, pki.FRONT_PROXY[0], *pki.CLIENTS):
        certificate(tmp_path, name).verify_directly_issued_by(certificate(tmp_path, "ca"))


def test_service_account_key_survives_renewals(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)
    key = (tmp_path / "service-account.key").read_bytes()

    pki.ensure(tmp_path, NOW + dt.timedelta(days=710))

    assert (tmp_path / "service-account.key").read_bytes() == key
