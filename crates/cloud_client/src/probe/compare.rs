//! The direct way beside the one through the proxy: which of the two is to blame.

use domain::connectivity::{Phase, Subject, Target};
use jiff::Timestamp;
use protocol::connectivity::{DirectReport, TargetReport};

use super::Prober;

impl Prober {
    /// Walks to the target without the proxy and compares.
    pub(super) async fn compare(
        &self,
        target: &Target,
        now: Timestamp,
        through: &TargetReport,
    ) -> DirectReport {
        let quiet = |_: Phase| {};
        let (trace, _) = Box::pin(self.follow(target, None, now, &quiet)).await;
        let issuer = trace.tls.as_ref().map(|tls| tls.issuer.clone());
        let differs = match (&through.tls, &trace.tls) {
            (Some(through), Some(direct)) => {
                through.fingerprint != direct.fingerprint && through.issuer != direct.issuer
            }
            _ => false,
        };
        let verdict = match (through.fault.is_none(), trace.trouble.is_none()) {
            _ if differs => "the certificate is another one through the proxy: the proxy looks into TLS",
            (true, true) => "both ways work",
            (true, false) => "only the proxy reaches it",
            (false, true) => "the direct way works: the proxy is in the way",
            (false, false) => "neither way works",
        };
        let subject = Subject {
            host: &target.address.host,
            port: target.address.port,
            server: &self.server,
            proxy: None,
        };
        DirectReport {
            result: if trace.trouble.is_none() {
                "passed"
            } else {
                "failed"
            }
            .into(),
            fault: trace
                .trouble
                .as_ref()
                .map(|trouble| super::report::fault(trouble, &subject)),
            issuer,
            verdict: verdict.into(),
        }
    }
}
