//! Whatever is in a `known_hosts` file or in an encrypted key: no reader of it panics, trusts the wrong one, or shows what
//! is secret.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use russh::keys::PublicKey;

use super::known_hosts::{self, Verdict};
use super::pem;
use support::fuzz::{any_spoiled, cases};

const ONE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const TWO: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

/// Lines as they are in such files, and lines that are not.
fn lines() -> impl Strategy<Value = String> {
    let valid = [
        format!("example.com,*.example.org,!git.example.org {TWO} me@home"),
        format!("[example.com]:2222 {TWO}"),
        format!("@revoked * {TWO}"),
        format!("@cert-authority *.example.com {TWO}"),
        format!("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {TWO}"),
        "# a comment".to_owned(),
        "example.com ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== x".to_owned(),
    ];
    let valid: Vec<Vec<u8>> = valid.map(String::into_bytes).to_vec();
    let line = prop_oneof![
        prop::sample::select(valid.clone()),
        any_spoiled(valid),
        prop::collection::vec(any::<u8>(), 0..60),
    ];
    prop::collection::vec(line, 0..6)
        .prop_map(|lines| String::from_utf8_lossy(&lines.join(&b'\n')).into_owned())
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("example.com".to_owned()),
        Just("[::1]".to_owned()),
        "[a-z.*?\\[\\]:!|,]{0,12}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_key_that_no_line_has_is_never_known(lines in lines(), host in hosts(), port in prop::sample::select(vec![22, 2222])) {
        let key = PublicKey::from_openssh(ONE).unwrap();

        let verdict = known_hosts::judge(&lines, &host, port, &key);

        prop_assert!(matches!(verdict, Verdict::Unknown | Verdict::Other(_)), "{:?}", verdict);
        let _ = known_hosts::kinds(&lines, &host, port);
    }

    #[test]
    fn a_line_for_the_host_counts_whatever_stands_around_it(before in lines(), after in lines()) {
        let key = PublicKey::from_openssh(ONE).unwrap();
        let lines = format!("{before}\n[h.example]:2222 {ONE}\n{after}");

        prop_assert_eq!(known_hosts::judge(&lines, "h.example", 2222, &key), Verdict::Known);
    }

    #[test]
    fn a_spoiled_key_in_pem_is_refused_in_words_of_our_own(text in keys(), passphrase in prop::option::of(any::<String>())) {
        let opened = pem::opened(&text, passphrase.as_deref());

        // Noise that happens to begin as a key does is left to the reader of keys.
        if let Ok(Some(key)) = opened {
            prop_assert!(key.starts_with("-----"));
        }
    }
}

fn keys() -> impl Strategy<Value = String> {
    let keys = ["AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "DES-EDE3-CBC"].map(|cipher| {
        format!(
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {cipher},000102030405060708090a0b0c0d0e0f\n\n\
             AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8=\n-----END EC PRIVATE KEY-----\n"
        )
        .into_bytes()
    });
    prop_oneof![
        Just(keys[0].clone()),
        any_spoiled(keys.to_vec()),
        any::<String>().prop_map(|text| format!("DEK-Info:{text}\n-----\n-----").into_bytes()),
    ]
    .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
