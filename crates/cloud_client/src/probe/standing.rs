//! The standing connection: one that is quiet for minutes, as notifications need it.

use std::time::Duration;

use domain::connectivity::{Address, Fault};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::Prober;
use crate::dial::Trouble;
use crate::proxy::Request;

/// How long a proxy should leave a quiet connection alone (internet-access, section 3).
pub const STANDING: Duration = Duration::from_secs(180);

impl Prober {
    /// Opens a tunnel to `address` and leaves it quiet for `hold`. In vain without a proxy: then nobody
    /// is there whose idle time-out could be found out.
    pub async fn standing(
        &self,
        address: &Address,
        hold: Duration,
        now: Timestamp,
    ) -> Result<(), (Fault, String)> {
        let Some(proxy) = self.way.proxy.as_deref() else {
            return Ok(());
        };
        let opened = self
            .way
            .tunnel(proxy, &address.authority(), Request::Connect, now)
            .await;
        let mut stream = opened
            .map_err(|trouble: Trouble| (trouble.fault, trouble.evidence))?
            .stream;
        let start = Instant::now();
        let mut byte = [0_u8; 1];
        loop {
            match tokio::time::timeout_at(start + hold, stream.read(&mut byte)).await {
                Err(_) => return Ok(()),
                // Whatever the other side says unasked, the connection stands.
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => {
                    let evidence = format!(
                        "a quiet connection was cut after {:.0} s; {} s are needed",
                        start.elapsed().as_secs_f64(),
                        hold.as_secs()
                    );
                    return Err((Fault::ProxyIdle, evidence));
                }
            }
        }
    }
}
