"""Keys and certificates of one rehearsal: a CA, two server certificates and the client certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rehearsal.control_plane.components.apiserver import FRONT_PROXY_NAME, SERVICE_ADDRESS
from rehearsal.metrics import METRICS_NAMESPACE, METRICS_SERVICE

# Client name -> (common name, organisation): the user and the group for RBAC. Built-in roles cover the controller
# manager and the scheduler. kwok and the agent simulate nodes and their devices, for which they are administrators.
CLIENTS: Mapping[str, tuple[str, str]] = {
    "admin": ("inferstack-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kwok": ("inferstack-kwok", "system:masters"),
    "agent": ("inferstack-agent", "system:masters"),
    "load": ("inferstack-load", "system:masters"),
    "metrics-adapter": ("inferstack-metrics-adapter", "system:masters"),
}
# The API server's client certificate for aggregated API servers; the user's name is in a header.
FRONT_PROXY = ("front-proxy", FRONT_PROXY_NAME)
# Server -> (common name, DNS names); loopback addresses are added to each.
SERVERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "server": (
        "kube-apiserver",
        (
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ),
    ),
    # The API server verifies the name of the Service through which it reaches the adapter.
    "metrics-server": ("metrics-adapter", ("localhost", f"{METRICS_SERVICE}.{METRICS_NAMESPACE}.svc")),
}
_ADDRESSES = ("127.0.0.1", "::1", SERVICE_ADDRESS)
_VALID = dt.timedelta(days=365)
_RENEW = dt.timedelta(days=30)


def ensure(folder: Path, now: dt.datetime) -> bool:
    """Create keys and certificates that are missing or about to expire; return whether anything changed.

    A CA that expires within 30 days is replaced together with all certificates that it signed. Files have mode 0600
    and are written atomically.

    Args:
        folder: target folder, created with mode 0700.
        now: the current time, with a time zone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    changed = False
    if not _is_valid(folder, "ca", now):
        for old in folder.glob("*.crt"):
            old.unlink()
        _make_authority(folder, now)
        changed = True
    authority = (_load_certificate(folder / "ca.crt"), _load_key(folder / "ca.key"))
    servers = {name: (common_name, "") for name, (common_name, _) in SERVERS.items()}
    proxy, proxy_name = FRONT_PROXY
    for name, (common_name, organisation) in {**servers, proxy: (proxy_name, ""), **CLIENTS}.items():
        if not _is_valid(folder, name, now):
            _make_leaf(folder, name, common_name, organisation, authority, now)
            changed = True
    if not (folder / "service-account.key").exists():
        _write(folder / "service-account.key", _pem(ec.generate_private_key(ec.SECP256R1())))
        changed = True
    return changed


def _is_valid(folder: Path, name: str, now: dt.datetime) -> bool:
    certificate = folder / f"{name}.crt"
    if not certificate.exists() or not (folder / f"{name}.key").exists():
        return False
    return _load_certificate(certificate).not_valid_after_utc - now > _RENEW


def _make_authority(folder: Path, now: dt.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("inferstack-rehearsal-ca", "")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = _builder(name, name, key.public_key(), now, _VALID * 2)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    # The key goes first: a certificate exists only together with its key.
    _write(folder / "ca.key", _pem(key))
    _write(folder / "ca.crt", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _make_leaf(
    folder: Path,
    name: str,
    common_name: str,
    organisation: str,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    now: dt.datetime,
) -> None:
    certificate, signer = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(common_name, organisation), certificate.subject, key.public_key(), now, _VALID)
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name in SERVERS:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        names: list[x509.GeneralName] = [x509.DNSName(dns) for dns in SERVERS[name][1]]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(issuer, critical=False)
    _write(folder / f"{name}.key", _pem(key))
    _write(folder / f"{name}.crt", builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, valid: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # One hour back, in case the clock is set back.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + valid)
    )


def _name(common_name: str, organisation: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _load_certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is not an elliptic-curve key; delete the folder {path.parent} to recreate all keys")
    return key


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)


def write_private(path: Path, text: str) -> None:
    """Write a file atomically with mode 0600."""
    _write(path, text.encode())
