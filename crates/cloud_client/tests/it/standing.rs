//! The standing connection through a proxy that cuts quiet ones. Time is the test's own.

use std::time::Duration;

use cloud_client::probe::{Prober, STANDING};
use cloud_client::{Proxy, ProxySettings, Resolver, Roots, WayOut};
use domain::connectivity::{Address, Fault, Scheme};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A proxy that opens every tunnel and cuts it when nothing has come through it for so long.
async fn cutting(after: Duration) -> (u16, impl Future<Output = ()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
        loop {
            match tokio::time::timeout(after, stream.read(&mut buffer)).await {
                Ok(Ok(bytes)) if bytes > 0 => {}
                _ => break,
            }
        }
    };
    (port, serving)
}

async fn standing(after: Duration) -> Result<(), (Fault, String)> {
    let (port, serving) = cutting(after).await;
    let proxy = Proxy::new(ProxySettings::new("127.0.0.1", port).unwrap());
    let resolver = Resolver::at("127.0.0.1:1".parse().unwrap(), Duration::from_secs(1)).unwrap();
    let way = WayOut::new(Roots::load(&[]).unwrap(), Some(proxy), resolver);
    let prober = Prober::new(way, "SRV1".into());
    let address = Address {
        scheme: Scheme::Https,
        host: "notify.example".into(),
        port: 443,
        path: "/".into(),
    };
    let checking = prober.standing(&address, STANDING, Timestamp::UNIX_EPOCH);
    tokio::select! {
        found = checking => found,
        () = async { serving.await; std::future::pending().await } => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn i16_a_proxy_that_cuts_quiet_connections() {
    let (fault, evidence) = standing(Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(fault, Fault::ProxyIdle);
    assert!(evidence.contains("cut after 60 s"), "{evidence}");
    standing(Duration::from_secs(200)).await.unwrap();
}
