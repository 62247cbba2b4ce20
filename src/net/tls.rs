//! Which certificates an HTTPS server may have.

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::ClientBuilder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::load_native_certs;

use crate::{NetError, Trust};

/// Trusts the system's certificates (or those of `SSL_CERT_FILE`), and those that the source gives.
pub(super) fn trust(builder: ClientBuilder, trust: &Trust) -> Result<ClientBuilder, NetError> {
    provide();
    if trust.anyone {
        return Ok(builder
            .tls_certs_only([])
            .tls_danger_accept_invalid_certs(true));
    }
    let mut trusted = RootCertStore::empty();
    if let Some(pem) = &trust.certificates {
        let given: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let number = given.len();
        let (usable, _) = trusted.add_parsable_certificates(given);
        if number == 0 || usable < number {
            return Err(NetError::Setting(
                "`source.ca_cert` must be one or more certificates in PEM form".to_owned(),
            ));
        }
    }
    // Of the system's some may be of a kind that the library does not know.
    trusted.add_parsable_certificates(of_the_system());
    if trusted.is_empty() {
        let message = "there are no certificates to trust on this system; install `ca-certificates`, point \
                       SSL_CERT_FILE at some, or give `source.ca_cert`";
        return Err(NetError::Setting(message.to_owned()));
    }
    // Handed over one by one, each certificate would be read twice.
    let config = ClientConfig::builder()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(builder.tls_backend_preconfigured(config))
}

/// What the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` say. Among it may be files that cannot be read, and
/// certificates likewise; they are passed over.
///
/// A bundle is enough, as for git. The folder beside it has the same certificates again, each in a file of its own, and is read
/// only where somebody names it.
fn of_the_system() -> Vec<CertificateDer<'static>> {
    if !openssl_probe::has_ssl_cert_env_vars() {
        let bundle = openssl_probe::probe().cert_file;
        let text = bundle.and_then(|bundle| std::fs::read_to_string(bundle).ok());
        let found = text.map(|text| in_bundle(&text)).unwrap_or_default();
        if !found.is_empty() {
            return found;
        }
    }
    load_native_certs().certs
}

/// The certificates of a bundle in PEM form, but for those that are damaged.
///
/// The TLS library reads them in such a way that the time tells nothing of what it reads, as is right for keys. For the
/// hundred and more certificates of a system, which are no secret, that was two thirds of all that a check over HTTPS did. Line by
/// line they take half of what it takes to look for the lines and leave out what is no letter.
fn in_bundle(text: &str) -> Vec<CertificateDer<'static>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    // What has been read of one; `None` between two of them.
    let mut body: Option<String> = None;
    for line in text.lines().map(str::trim_ascii) {
        match (line, &mut body) {
            (BEGIN, _) => body = Some(String::with_capacity(2048)),
            (END, _) => {
                let bytes = body.take().and_then(|body| STANDARD.decode(body).ok());
                found.extend(bytes.map(CertificateDer::from));
            }
            (line, Some(body)) => body.push_str(line),
            (_, None) => {}
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn a_bundle_gives_its_certificates_and_passes_over_what_is_damaged() {
        let text = [
            "# a name\n".to_owned(),
            block("AQID\r\nBAU="),
            block("not base64 !"),
            "-----BEGIN TRUSTED CERTIFICATE-----\nAQID\n-----END TRUSTED CERTIFICATE-----\n"
                .to_owned(),
            block(" BgcI "),
            "-----BEGIN CERTIFICATE-----\nAQID".to_owned(),
        ]
        .concat();

        let found = in_bundle(&text);

        let expected: [&[u8]; 2] = [&[1, 2, 3, 4, 5], &[6, 7, 8]];
        assert!(found.iter().map(AsRef::as_ref).eq(expected), "{found:?}");
    }

    #[test]
    fn a_bundle_is_read_as_the_tls_library_reads_it() {
        let Some(bundle) = openssl_probe::probe().cert_file else {
            return;
        };
        let theirs = rustls_native_certs::load_certs_from_paths(Some(&bundle), None).certs;
        let text = std::fs::read_to_string(&bundle).unwrap_or_default();
        let ours = in_bundle(&text);
        let sorted = |certificates: &[CertificateDer<'_>]| {
            let bytes = certificates.iter().map(|one| one.to_vec());
            bytes.collect::<std::collections::BTreeSet<Vec<u8>>>()
        };

        assert_eq!(sorted(&ours), sorted(&theirs));
    }
}
