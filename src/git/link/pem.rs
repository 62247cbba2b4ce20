//! Private keys under a passphrase in the traditional PEM form, with a line `DEK-Info`.
//!
//! Of these `russh` reads RSA keys under AES-128 only; `ssh-keygen -m PEM` writes ECDSA keys so as well, and `openssl`
//! uses the longer keys of AES.
//!
//! Source: RFC 1421, 4.6.1.3; `EVP_BytesToKey(3)`.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cbc::Decryptor;

/// The same key without a passphrase, or `None` when it is not one of this form.
///
/// # Errors
/// Why it cannot be read, in words that show nothing of it.
pub(super) fn opened(text: &str, passphrase: Option<&str>) -> Result<Option<String>, &'static str> {
    let Some(info) = text.lines().find_map(|line| line.strip_prefix("DEK-Info:")) else {
        return Ok(None);
    };
    let passphrase = passphrase.ok_or("The key is encrypted")?;
    let mut edges = text.lines().filter(|line| line.starts_with("-----"));
    let (Some(start), Some(end)) = (edges.next(), edges.next()) else {
        return Err("it is not whole");
    };
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----") && !line.contains(':'))
        .collect();
    let body = BASE64_STANDARD
        .decode(body)
        .map_err(|_| "it is not whole")?;
    let (cipher, iv) = info.trim().split_once(',').ok_or("it is not whole")?;
    let iv = bytes_of_hex(iv).ok_or("it is not whole")?;
    let salt = iv.get(..8).ok_or("it is not whole")?;

    let seed = [passphrase.as_bytes(), salt].concat();
    let first = md5::compute(&seed);
    let second = md5::compute([&first[..], &seed].concat());
    let key = [first.0, second.0].concat();
    let plain = match cipher {
        "AES-128-CBC" => Decryptor::<Aes128>::new_from_slices(&key[..16], &iv)
            .ok()
            .and_then(|cipher| cipher.decrypt_padded_vec::<Pkcs7>(&body).ok()),
        "AES-192-CBC" => Decryptor::<Aes192>::new_from_slices(&key[..24], &iv)
            .ok()
            .and_then(|cipher| cipher.decrypt_padded_vec::<Pkcs7>(&body).ok()),
        "AES-256-CBC" => Decryptor::<Aes256>::new_from_slices(&key, &iv)
            .ok()
            .and_then(|cipher| cipher.decrypt_padded_vec::<Pkcs7>(&body).ok()),
        _ => return Err("its cipher is not supported; `ssh-keygen -p` writes it anew"),
    };
    // What a wrong passphrase makes is noise; a key is an ASN.1 SEQUENCE.
    let plain = plain.filter(|plain| plain.first() == Some(&0x30));
    let plain = plain.ok_or("the passphrase does not open it")?;
    Ok(Some(format!(
        "{start}\n{}\n{end}\n",
        BASE64_STANDARD.encode(plain)
    )))
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
