//! Which certificates an HTTPS server may have.

use std::sync::Once;

use reqwest::{Certificate, ClientBuilder};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::RemoteError;
use super::super::access::Trust;

/// Trusts the system's certificates (or those of `SSL_CERT_FILE`), and those that the source gives.
pub(super) fn trust(builder: ClientBuilder, trust: &Trust) -> Result<ClientBuilder, RemoteError> {
    provide();
    if trust.anyone {
        return Ok(builder
            .tls_certs_only([])
            .tls_danger_accept_invalid_certs(true));
    }
    let mut certificates = Vec::new();
    if let Some(pem) = &trust.certificates {
        let given: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        if given.is_empty() || !given.iter().all(is_usable) {
            return Err(RemoteError::Setting(
                "`source.ca_cert` must be one or more certificates in PEM form".to_owned(),
            ));
        }
        certificates.extend(given);
    }
    // What the system has may have files that cannot be read among others that can, and certificates likewise.
    let system = rustls_native_certs::load_native_certs().certs;
    certificates.extend(system.into_iter().filter(is_usable));
    let certificates: Vec<Certificate> = certificates
        .iter()
        .filter_map(|certificate| Certificate::from_der(certificate).ok())
        .collect();
    if certificates.is_empty() {
        let message = "there are no certificates to trust on this system; install `ca-certificates`, point \
                       SSL_CERT_FILE at some, or give `source.ca_cert`";
        return Err(RemoteError::Setting(message.to_owned()));
    }
    Ok(builder.tls_certs_only(certificates))
}

/// Whether the TLS library can read it: one that it cannot would make it refuse all of them.
fn is_usable(certificate: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

/// For plain HTTP: no certificate is needed.
pub(super) fn none(builder: ClientBuilder) -> ClientBuilder {
    provide();
    builder.tls_certs_only([])
}

/// Tells the TLS library once which cryptography to use.
fn provide() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only when somebody else has done so, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
