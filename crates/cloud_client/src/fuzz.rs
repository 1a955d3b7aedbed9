//! Fuzz targets: each takes any bytes and must neither panic nor use more than they are worth. Property
//! tests and the corpus call them; a fuzzer can too.

/// The head of an answer.
pub fn response_head(bytes: &[u8]) {
    let _ = crate::head::Head::parse(bytes);
}

/// A `Proxy-Authenticate` line.
pub fn challenge(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = crate::proxy::parse_challenges([text.as_ref()]);
}

/// A certificate.
pub fn certificate(bytes: &[u8]) {
    let _ = crate::certificate::summary(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            super::response_head(&bytes);
            super::challenge(&bytes);
            super::certificate(&bytes);
        }
    }
}
