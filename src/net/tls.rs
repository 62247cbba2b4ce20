//! Which certificates an HTTPS server may have.

use std::sync::Once;

use reqwest::{Certificate, ClientBuilder};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_native_certs::{load_certs_from_paths, load_native_certs};

use crate::{NetError, Trust};

/// Trusts the system's certificates (or those of `SSL_CERT_FILE`), and those that the source gives.
pub(super) fn trust(builder: ClientBuilder, trust: &Trust) -> Result<ClientBuilder, NetError> {
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
            return Err(NetError::Setting(
                "`source.ca_cert` must be one or more certificates in PEM form".to_owned(),
            ));
        }
        certificates.extend(given);
    }
    certificates.extend(of_the_system().into_iter().filter(is_usable));
    let certificates: Vec<Certificate> = certificates
        .iter()
        .filter_map(|certificate| Certificate::from_der(certificate).ok())
        .collect();
    if certificates.is_empty() {
        let message = "there are no certificates to trust on this system; install `ca-certificates`, point \
                       SSL_CERT_FILE at some, or give `source.ca_cert`";
        return Err(NetError::Setting(message.to_owned()));
    }
    Ok(builder.tls_certs_only(certificates))
}

/// What the system trusts. Among it may be files that cannot be read, and certificates likewise; they are passed over.
///
/// A bundle is enough, as for git. The folder beside it has the same certificates again, each in a file of its own: to read
/// both was a third of all that an acquire over HTTPS does.
fn of_the_system() -> Vec<CertificateDer<'static>> {
    if !openssl_probe::has_ssl_cert_env_vars() {
        let bundle = openssl_probe::probe().cert_file;
        let found = load_certs_from_paths(bundle.as_deref(), None).certs;
        if !found.is_empty() {
            return found;
        }
    }
    load_native_certs().certs
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
