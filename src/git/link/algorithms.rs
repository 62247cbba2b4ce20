//! Which algorithms of SSH we offer: what OpenSSH's client does when nobody has configured it.
//!
//! russh's own choice has no key exchange on the curves of NIST and no SHA-1 at all. Servers that offer nothing else are in use:
//! those with FIPS rules, and old appliances. `hmac-sha1` has no known weakness; that of SHA-1 is collisions, which a MAC
//! does not rest on. What OpenSSH has given up (SHA-1 in the key exchange, CBC, 3DES), we don't offer either.

use std::borrow::Cow;

use russh::{AlgorithmKind, Preferred, kex, mac};

/// What we offer, what we like best first.
pub fn offered() -> Preferred {
    let own = Preferred::DEFAULT;
    let curves = [
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
    ];
    let mut exchanges = own.kex.to_vec();
    // After the better curves, and before all that is slow.
    let better = [
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
    ];
    let place = exchanges
        .iter()
        .rposition(|one| better.contains(one))
        .map_or(0, |last| last + 1);
    exchanges.splice(place..place, curves);
    let mut macs = own.mac.to_vec();
    macs.extend([mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]);
    Preferred {
        kex: Cow::Owned(exchanges),
        mac: Cow::Owned(macs),
        ..own
    }
}

/// That a server and we have no algorithm of a kind in common, in words.
pub fn none_in_common(kind: &AlgorithmKind, theirs: &[String]) -> String {
    let kind = match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "kind of host key",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    };
    let theirs = match theirs {
        [] => "none".to_owned(),
        theirs => theirs.join(", "),
    };
    format!(
        "no {kind} of its is supported here, nor would OpenSSH take one without being told to (it offers {theirs})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssh_offers_is_offered_the_better_ones_first() {
        let offered = offered();
        let place = |name: kex::Name| offered.kex.iter().position(|one| *one == name);

        assert!(place(kex::CURVE25519) < place(kex::ECDH_SHA2_NISTP256));
        assert!(place(kex::ECDH_SHA2_NISTP521) < place(kex::DH_GEX_SHA256));
        assert!(place(kex::ECDH_SHA2_NISTP384).is_some());
        assert_eq!(offered.mac.last(), Some(&mac::HMAC_SHA1));
        assert_eq!(offered.mac.first(), Preferred::DEFAULT.mac.first());
    }

    #[test]
    fn what_openssh_has_given_up_is_not_offered() {
        let offered = offered();
        for given_up in [kex::DH_G1_SHA1, kex::DH_G14_SHA1, kex::DH_GEX_SHA1] {
            assert!(!offered.kex.contains(&given_up));
        }
        assert!(
            offered
                .cipher
                .iter()
                .all(|one| !one.as_ref().contains("cbc"))
        );
    }
}
