//! One address: config, DNS, TCP, proxy, TLS, certificate, HTTP. The first phase that fails ends the walk.

use std::time::Duration;

use domain::connectivity::{Address, Fault, Phase, Scheme, judge_connect};
use jiff::Timestamp;
use tokio::time::Instant;

use super::Prober;
use super::trace::Trace;
use crate::dial::{Trouble, connect, suspicious};
use crate::head::Head;
use crate::proxy::{Proxy, Request};
use crate::way::Stream;

/// Where a walk goes.
pub(super) struct Walk<'a> {
    pub address: &'a Address,
    /// For which a private address is a sign of a filter.
    pub public: bool,
    pub proxy: Option<&'a Proxy>,
    pub now: Timestamp,
    pub enter: &'a (dyn Fn(Phase) + Send + Sync),
}

impl Prober {
    /// Walks to one address. Redirects are for the caller.
    pub(super) async fn walk(&self, walk: &Walk<'_>) -> (Trace, Option<Head>) {
        let mut trace = Trace::default();
        (walk.enter)(Phase::Config);
        trace.passed(Phase::Config, Duration::ZERO, "");
        let head = self.steps(walk, &mut trace).await;
        if let Some(trouble) = &mut trace.trouble
            && let Some(suspicion) = trace.suspicion.take()
            && matches!(
                trouble.fault.phase(),
                Phase::Tcp | Phase::Tls | Phase::Certificate
            )
        {
            let evidence = format!("{suspicion}; then {}: {}", trouble.fault.code(), trouble.evidence);
            *trouble = Trouble::new(Fault::DnsSinkhole, evidence);
        }
        (trace, head.ok())
    }

    async fn steps(&self, walk: &Walk<'_>, trace: &mut Trace) -> Result<Head, ()> {
        let proxy = walk
            .proxy
            .filter(|proxy| !proxy.settings.bypasses(&walk.address.host));
        let secure = walk.address.scheme == Scheme::Https;
        let stream = match proxy {
            None => self.direct(walk, trace).await?,
            Some(proxy) if secure => self.through(walk, proxy, trace).await?,
            Some(proxy) => return self.plain_through(walk, proxy, trace).await,
        };
        if secure {
            self.secure(walk, stream, trace).await
        } else {
            trace.not_needed(Phase::Tls, "plain HTTP");
            trace.not_needed(Phase::Certificate, "plain HTTP");
            self.http(walk, stream, trace).await
        }
    }

    /// DNS and TCP without a proxy.
    async fn direct(&self, walk: &Walk<'_>, trace: &mut Trace) -> Result<Box<dyn Stream>, ()> {
        let (host, port) = (&walk.address.host, walk.address.port);
        (walk.enter)(Phase::Dns);
        let start = Instant::now();
        let addresses = match self.way.resolver.addresses(host, self.way.limits.dns).await {
            Ok(addresses) => addresses,
            Err(trouble) => return fail(trace, Phase::Dns, start, trouble),
        };
        trace.addresses = addresses.iter().map(ToString::to_string).collect();
        if host.parse::<std::net::IpAddr>().is_err() {
            if let Some(nowhere) = addresses.iter().find(|address| address.is_unspecified()) {
                let trouble = Trouble::new(Fault::DnsSinkhole, format!("the answer is {nowhere}"));
                return fail(trace, Phase::Dns, start, trouble);
            }
            if walk.public {
                self.suspect(host, &addresses, trace);
            }
        }
        trace.passed(Phase::Dns, start.elapsed(), trace.addresses.join(", "));
        (walk.enter)(Phase::Tcp);
        let start = Instant::now();
        match connect(&addresses, port, self.way.limits.tcp).await {
            Ok(connected) => {
                trace.passed(Phase::Tcp, start.elapsed(), connected.peer.to_string());
                trace.peer = Some(connected.peer.to_string());
                for failed in connected.failed {
                    trace.notes.push(format!("one address did not work: {failed}"));
                }
                trace.not_needed(Phase::Proxy, "no proxy");
                Ok(Box::new(connected.stream))
            }
            Err(trouble) => fail(trace, Phase::Tcp, start, trouble),
        }
    }

    /// Addresses that no public host has, or that unrelated hosts share, are told if something else fails.
    fn suspect(&self, host: &str, addresses: &[std::net::IpAddr], trace: &mut Trace) {
        let odd = addresses
            .iter()
            .find_map(|address| suspicious(address).map(|kind| (address, kind)));
        if let Some((address, kind)) = odd {
            trace.suspicion = Some(format!("the answer is {address}, {kind}"));
            trace.notes.push(format!(
                "{address} is {kind}: a private endpoint, or a DNS filter"
            ));
        } else if let Some(other) = self.seen.note(host, addresses) {
            trace.suspicion = Some(format!(
                "the answer is the same as for {other}, which is somebody else's"
            ));
        }
    }

    /// A tunnel; names are the proxy's business, nothing is looked up here but the proxy itself.
    async fn through(
        &self,
        walk: &Walk<'_>,
        proxy: &Proxy,
        trace: &mut Trace,
    ) -> Result<Box<dyn Stream>, ()> {
        trace.not_needed(Phase::Dns, "left to the proxy");
        trace.not_needed(Phase::Tcp, "left to the proxy");
        (walk.enter)(Phase::Proxy);
        let start = Instant::now();
        match self
            .way
            .tunnel(proxy, &walk.address.authority(), Request::Connect, walk.now)
            .await
        {
            Ok(opened) => {
                trace.peer = Some(opened.peer.to_string());
                trace.passed(Phase::Proxy, start.elapsed(), proxy.settings.to_string());
                Ok(opened.stream)
            }
            Err(trouble) => fail(trace, Phase::Proxy, start, trouble),
        }
    }

    /// Plain HTTP is not tunnelled: the proxy gets the whole URL and its answer is the answer.
    async fn plain_through(&self, walk: &Walk<'_>, proxy: &Proxy, trace: &mut Trace) -> Result<Head, ()> {
        trace.not_needed(Phase::Dns, "left to the proxy");
        trace.not_needed(Phase::Tcp, "left to the proxy");
        (walk.enter)(Phase::Proxy);
        let url = format!("http://{}{}", walk.address.host_header(), walk.address.path);
        let request = |method| Request::Plain { method, url: &url };
        let start = Instant::now();
        let host = walk.address.host_header();
        let mut answer = self.way.tunnel(proxy, &host, request("HEAD"), walk.now).await;
        if answer
            .as_ref()
            .is_ok_and(|opened| matches!(opened.head.status, 405 | 501))
        {
            answer = self.way.tunnel(proxy, &host, request("GET"), walk.now).await;
        }
        let head = match answer {
            Ok(opened) => {
                trace.peer = Some(opened.peer.to_string());
                opened.head
            }
            Err(trouble) => return fail(trace, Phase::Proxy, start, trouble),
        };
        // Some proxies mark what they say themselves.
        if let Some(mark) = head.get("x-squid-error").or(head.get("proxy-status"))
            && let Some(fault) = judge_connect(head.status)
        {
            let trouble = Trouble::new(fault, format!("the proxy answered {} ({mark})", head.status));
            return fail(trace, Phase::Proxy, start, trouble);
        }
        trace.passed(Phase::Proxy, start.elapsed(), proxy.settings.to_string());
        trace.not_needed(Phase::Tls, "plain HTTP");
        trace.not_needed(Phase::Certificate, "plain HTTP");
        (walk.enter)(Phase::Http);
        self.judge_head(walk, head, start, trace)
    }
}

pub(super) fn fail<T>(trace: &mut Trace, phase: Phase, start: Instant, trouble: Trouble) -> Result<T, ()> {
    trace.failed(phase, start.elapsed(), trouble);
    Err(())
}
