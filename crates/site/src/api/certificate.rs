//! The certificate of the API for other machines: the site's own, made once, unless one was put there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::directory::write_durably;

/// Validity of the site's own certificate in days.
const VALIDITY_DAYS: i64 = 820;

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file.
    #[error("cannot read or write {path}")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The files hold no usable certificate and key.
    #[error("{path} and its key cannot be used; remove both, and the site makes new ones")]
    Unusable {
        /// Certificate file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The TLS settings of the API. Makes certificate and key below `secrets` where there are none.
pub fn server_config(
    secrets: &Path,
    machine: &str,
    now: Timestamp,
) -> Result<Arc<ServerConfig>, CertificateError> {
    let (certificate, key) = (secrets.join("api.pem"), secrets.join("api.key"));
    if !certificate.exists() || !key.exists() {
        make(&certificate, &key, machine, now)?;
    }
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| CertificateError::Unusable {
        path: certificate.clone(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .map_err(|failure| unusable(failure.into()))?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|failure| unusable(failure.into()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|failure| unusable(failure.into()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn make(certificate: &Path, key: &Path, machine: &str, now: Timestamp) -> Result<(), CertificateError> {
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| CertificateError::Unusable {
        path: certificate.to_owned(),
        source,
    };
    let names = vec![machine.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut parameters = rcgen::CertificateParams::new(names).map_err(|failure| unusable(failure.into()))?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("tidegate site on {machine}"));
    let date = |at: jiff::Zoned| rcgen::date_time_ymd(i32::from(at.year()), at.month() as u8, at.day() as u8);
    let today = now.to_zoned(jiff::tz::TimeZone::UTC);
    let end = today
        .checked_add(jiff::Span::new().days(VALIDITY_DAYS))
        .map_err(|failure| unusable(failure.into()))?;
    parameters.not_before = date(today);
    parameters.not_after = date(end);
    let pair = rcgen::KeyPair::generate().map_err(|failure| unusable(failure.into()))?;
    let made = parameters
        .self_signed(&pair)
        .map_err(|failure| unusable(failure.into()))?;
    let write = |path: &Path, text: String| {
        write_durably(path, text.as_bytes(), 0o600).map_err(|source| CertificateError::File {
            path: path.to_owned(),
            source,
        })
    };
    write(key, pair.serialize_pem())?;
    write(certificate, made.pem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_read_again() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        server_config(folder.path(), "host", now).unwrap();
        let first = std::fs::read(folder.path().join("api.pem")).unwrap();
        server_config(folder.path(), "host", now).unwrap();
        assert_eq!(std::fs::read(folder.path().join("api.pem")).unwrap(), first);
        std::fs::write(folder.path().join("api.pem"), "nonsense").unwrap();
        assert!(server_config(folder.path(), "host", now).is_err());
    }
}
