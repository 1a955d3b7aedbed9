//! TLS as everything that goes out uses it: roots of the platform and of the configuration, and a
//! verifier that remembers what it was shown.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};

/// Trusted roots.
#[derive(Clone)]
pub struct Roots {
    pub(crate) store: Arc<RootCertStore>,
    /// Organisations and names of the roots' subjects, for telling a missing intermediate from a stranger.
    pub(crate) subjects: Arc<Vec<String>>,
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// A file without a certificate.
    #[error("the file of extra certificates holds no certificate in PEM form")]
    NoCertificate,
    /// A certificate that is none.
    #[error("a certificate among the extra ones cannot be read")]
    Unreadable(#[source] rustls::Error),
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({})", self.store.len())
    }
}

impl Roots {
    /// The platform's roots and those in PEM texts. A platform without any is no failure: plain HTTP and
    /// feeds with certificates of their own need none.
    pub fn load(extra_pem: &[Vec<u8>]) -> Result<Self, RootsError> {
        let mut store = RootCertStore::empty();
        let mut ders: Vec<CertificateDer<'static>> = rustls_native_certs::load_native_certs().certs;
        // Platforms carry roots that no verifier takes; they are left out as everywhere.
        store.add_parsable_certificates(ders.iter().cloned());
        for pem in extra_pem {
            let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
                .filter_map(Result::ok)
                .collect();
            if found.is_empty() {
                return Err(RootsError::NoCertificate);
            }
            for der in found {
                store.add(der.clone()).map_err(RootsError::Unreadable)?;
                ders.push(der);
            }
        }
        let subjects = ders
            .iter()
            .filter_map(|der| crate::certificate::subject_of(der))
            .collect();
        Ok(Roots {
            store: Arc::new(store),
            subjects: Arc::new(subjects),
        })
    }
}

/// The one cryptography of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// TLS for real traffic: strict, HTTP/2 where offered.
pub(crate) fn strict(roots: &Roots) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.store.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a server showed, and what the strict verifier says to it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub end_entity: CertificateDer<'static>,
    pub intermediates: Vec<CertificateDer<'static>>,
    pub verdict: Result<(), rustls::Error>,
}

/// Remembers the chain and the strict verdict, and lets the handshake finish: a check has nothing to
/// lose, and what comes after a bad certificate (the `Date`) is evidence.
#[derive(Debug)]
pub(crate) struct Recorder {
    strict: Option<Arc<WebPkiServerVerifier>>,
    at: UnixTime,
    shown: Mutex<Option<Shown>>,
}

impl Recorder {
    /// A recorder for one handshake, judging as of `at`.
    pub fn new(roots: &Roots, crls: Vec<CertificateRevocationListDer<'static>>, at: UnixTime) -> Arc<Self> {
        let mut builder = WebPkiServerVerifier::builder_with_provider(roots.store.clone(), provider());
        if !crls.is_empty() {
            builder = builder.with_crls(crls).allow_unknown_revocation_status();
        }
        Arc::new(Recorder {
            // Without any root there is no verifier, and everything is from an unknown issuer.
            strict: builder.build().ok(),
            at,
            shown: Mutex::new(None),
        })
    }

    /// What was shown in the handshake.
    pub fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS with this recorder, for one request.
    pub fn config(self: &Arc<Self>) -> Result<ClientConfig, rustls::Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// The strict verdict on a chain.
    pub fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
    ) -> Result<(), rustls::Error> {
        match &self.strict {
            Some(strict) => strict
                .verify_server_cert(end_entity, intermediates, name, ocsp, self.at)
                .map(drop),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.judge(end_entity, intermediates, server_name, ocsp_response);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shown {
            end_entity: end_entity.clone().into_owned(),
            intermediates: intermediates.iter().map(|der| der.clone().into_owned()).collect(),
            verdict,
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
