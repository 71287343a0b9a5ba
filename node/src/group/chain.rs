//! A chain of certificates as one string of bytes: one after the other, as beside a statement and in a membership's file.
//!
//! DER says its own length, so nothing stands between them; one certificate alone is a chain as well, which is what secret
//! mode has always sent.

use rustls_pki_types::CertificateDer;

/// Certificates of the longest chain that is looked at.
const LONGEST: usize = 4;

/// Cuts a chain into its certificates; `None` when the bytes are not whole DER sequences, or too many.
pub(crate) fn split(mut bytes: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let mut chain = Vec::new();
    while !bytes.is_empty() {
        if chain.len() == LONGEST {
            return None;
        }
        let (certificate, rest) = bytes.split_at_checked(sequence_length(bytes)?)?;
        chain.push(CertificateDer::from(certificate));
        bytes = rest;
    }
    Some(chain)
}

/// The certificates as one string.
pub(crate) fn join<'a>(chain: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Vec<u8> {
    chain.into_iter().flat_map(|certificate| certificate.iter().copied()).collect()
}

/// Bytes of the DER sequence that stands first, header included (X.690 section 8.1.3), as long as certificates are.
fn sequence_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0x30, length @ 0..=0x7f, ..] => Some(2 + usize::from(*length)),
        [0x30, 0x81, length, ..] => Some(3 + usize::from(*length)),
        [0x30, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn der(length: usize) -> Vec<u8> {
        let head = match length {
            0..=0x7f => vec![0x30, length as u8],
            0x80..=0xff => vec![0x30, 0x81, length as u8],
            _ => vec![0x30, 0x82, (length >> 8) as u8, length as u8],
        };
        [head, vec![0x05; length]].concat()
    }

    #[test]
    fn nothing_is_an_empty_chain_and_five_are_too_many() {
        assert_eq!(split(&[]), Some(Vec::new()));
        assert!(split(&der(3).repeat(LONGEST)).is_some());
        assert_eq!(split(&der(3).repeat(LONGEST + 1)), None);
    }

    proptest! {
        #[test]
        fn a_joined_chain_is_split_again(lengths in proptest::collection::vec(0usize..700, 0..=LONGEST)) {
            let ders: Vec<Vec<u8>> = lengths.into_iter().map(der).collect();
            let chain: Vec<CertificateDer<'_>> = ders.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
            let joined = join(&chain);
            prop_assert_eq!(split(&joined), Some(chain));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = split(&bytes);
        }
    }
}
