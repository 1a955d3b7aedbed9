//! HTTPS with a certificate authority of one's own, and no way back from it.

use std::sync::Arc;

use cloud_client::{HttpsOptions, LocationError};
use feed::{Kind, TransportError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::faults::{get, options, transport};
use crate::server::{Server, reply};

/// An authority's certificate in PEM form and a server that presents one it issued for `localhost`.
fn authority() -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&server_key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap();
    (root.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn extra_roots_are_trusted_and_nothing_else() {
    let (root, acceptor) = authority();
    let server = Server::start(Some(acceptor), |_| reply("200 OK", &[], b"safe")).await;
    let base = format!("https://localhost:{}", server.address.port());
    let trusting = HttpsOptions {
        extra_roots_pem: vec![root.into_bytes()],
        ..options()
    };
    let trusted = transport(&base, &trusting);
    assert_eq!(get(&trusted, Kind::Target, "x", None).await.unwrap(), b"safe");

    let (other, _) = authority();
    let other = HttpsOptions {
        extra_roots_pem: vec![other.into_bytes()],
        ..options()
    };
    let error = get(&transport(&base, &other), Kind::Target, "x", None)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Network { .. }), "{error:?}");
    // The name counts as well.
    let by_address = format!("https://127.0.0.1:{}", server.address.port());
    let error = get(&transport(&by_address, &trusting), Kind::Target, "x", None)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Network { .. }), "{error:?}");
}

#[tokio::test]
async fn redirects_never_leave_https() {
    let (root, acceptor) = authority();
    let plain = Server::start(None, |_| reply("200 OK", &[], b"seen by everybody")).await;
    let location = format!("http://{}/targets/x", plain.address);
    let server = Server::start(Some(acceptor), move |_| {
        reply("301 Moved", &[("location", &location)], b"")
    })
    .await;
    let trusting = HttpsOptions {
        extra_roots_pem: vec![root.into_bytes()],
        ..options()
    };
    let transport = transport(&format!("https://localhost:{}", server.address.port()), &trusting);
    let error = get(&transport, Kind::Target, "x", None).await.unwrap_err();
    assert!(matches!(error, TransportError::Redirect { .. }), "{error:?}");
    assert!(plain.requests().is_empty());
}

#[test]
fn a_file_without_certificates_is_refused() {
    let options = HttpsOptions {
        extra_roots_pem: vec![b"nothing".to_vec()],
        ..options()
    };
    let error = cloud_client::open("https://localhost/a", "https://localhost/b", &options)
        .err()
        .unwrap();
    assert!(matches!(error, LocationError::Roots(_)), "{error:?}");
}
