//! What can go wrong on the way to an endpoint: every fault by code, with whose fault it is and what to
//! do (internet-access, section 4).

use std::fmt;

/// The steps of a check, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Mode and proxy settings.
    Config,
    /// The name becomes addresses.
    Dns,
    /// A connection to one of them, or to the proxy.
    Tcp,
    /// The proxy opens a tunnel.
    Proxy,
    /// The handshake.
    Tls,
    /// The chain of certificates.
    Certificate,
    /// One request and the head of its answer.
    Http,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Phase; 7] = [
        Phase::Config,
        Phase::Dns,
        Phase::Tcp,
        Phase::Proxy,
        Phase::Tls,
        Phase::Certificate,
        Phase::Http,
    ];

    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Config => "config",
            Phase::Dns => "dns",
            Phase::Tcp => "tcp",
            Phase::Proxy => "proxy",
            Phase::Tls => "tls",
            Phase::Certificate => "certificate",
            Phase::Http => "http",
        }
    }
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The machine that checks: its mode, clock, proxy settings, trusted roots.
    ThisServer,
    /// Whoever runs the name servers.
    Dns,
    /// Whoever runs the firewall or the routes.
    Firewall,
    /// Whoever runs the proxy.
    Proxy,
    /// Whoever runs the device that looks into TLS.
    InspectionDevice,
    /// Whoever runs the endpoint.
    Service,
}

impl Party {
    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Party::ThisServer => "this server",
            Party::Dns => "DNS",
            Party::Firewall => "firewall",
            Party::Proxy => "proxy",
            Party::InspectionDevice => "inspection device",
            Party::Service => "service",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an advice speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Host of the endpoint.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// The machine that checks.
    pub server: &'a str,
    /// `host:port` of the proxy, if there is one.
    pub proxy: Option<&'a str>,
}

macro_rules! faults {
    ($( $name:ident $code:literal $phase:ident $party:ident $advice:literal, )*) => {
        /// A fault by name. Codes are stable; programs may rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(
                #[doc = concat!("`", $code, "`: ", $advice)]
                $name,
            )*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Fault] = &[$(Fault::$name),*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Fault::$name => $code,)* }
            }

            /// The phase it is found in.
            pub fn phase(self) -> Phase {
                match self { $(Fault::$name => Phase::$phase,)* }
            }

            /// Who has to act.
            pub fn party(self) -> Party {
                match self { $(Fault::$name => Party::$party,)* }
            }

            /// The advice with places for HOST, PORT, SERVER and PROXY.
            pub(super) fn template(self) -> &'static str {
                match self { $(Fault::$name => $advice,)* }
            }
        }
    };
}

faults! {
    Offline "cfg.offline" Config ThisServer "Nothing is checked in offline mode. Switch to online and restart SMS_DMP_DOWNLOADER, or use the service connection tool.",
    ProxyInvalid "cfg.proxy-invalid" Config ThisServer "Correct the proxy's name and port: tidegate scp proxy set.",
    DnsNxdomain "dns.nxdomain" Dns Dns "Ask whoever runs DNS why HOST does not exist for SERVER. Where only a proxy reaches the internet, set that proxy; names are then its business.",
    DnsTimeout "dns.timeout" Dns Dns "The name server did not answer in time. Allow UDP and TCP port 53 from SERVER to it, or name another.",
    DnsServfail "dns.servfail" Dns Dns "The name server could not find out about HOST. Ask whoever runs it to look at its forwarders and DNSSEC validation.",
    DnsSinkhole "dns.sinkhole" Dns Dns "A DNS filter answers for HOST with an address of its own. Ask for an exception for HOST.",
    DnsFamily "dns.family" Dns Firewall "HOST has only addresses of a family that SERVER cannot reach. Mend the routes of that family.",
    TcpRefused "tcp.refused" Tcp Firewall "Something answers for HOST and rejects TCP port PORT: a firewall rule, or the wrong port.",
    TcpTimeout "tcp.timeout" Tcp Firewall "Packets vanish. Allow outgoing TCP port PORT from SERVER to HOST.",
    TcpUnreachable "tcp.unreachable" Tcp Firewall "There is no route from SERVER to HOST. Look at the gateway and the routes.",
    ProxyDns "proxy.dns" Proxy ThisServer "The name of the proxy PROXY cannot be resolved. Check it with: tidegate scp proxy show.",
    ProxyTcp "proxy.tcp" Proxy Proxy "The proxy PROXY takes no connections. Check its name and port, and that SERVER may reach it.",
    ProxyTls "proxy.tls" Proxy Proxy "The TLS connection to the proxy PROXY itself failed. Check its certificate, or whether it speaks TLS on this port at all.",
    ProxyAuthRequired "proxy.auth-required" Proxy Proxy "The proxy wants to know who asks. Set the proxy account (tidegate scp proxy set --user NAME), or exempt HOST from authentication.",
    ProxyAuthRejected "proxy.auth-rejected" Proxy Proxy "The proxy refused the account. Check the password, whether the account is locked, and the proxy's group rules.",
    ProxyAuthScheme "proxy.auth-scheme" Proxy Proxy "The proxy offers no authentication that can be used here. Allow one of Digest, NTLM or Basic, or exempt HOST.",
    ProxyDenied "proxy.denied" Proxy Proxy "The proxy forbids it. Allow CONNECT to HOST:PORT for SERVER.",
    ProxyUpstream "proxy.upstream" Proxy Proxy "The proxy cannot reach HOST. Look at the proxy's own DNS, firewall or parent proxy.",
    ProxyTimeout "proxy.timeout" Proxy Proxy "The proxy took the connection and did not answer. Look at its load and at what it waits for.",
    NotAProxy "proxy.not-a-proxy" Proxy ThisServer "What answers at PROXY is no HTTP proxy. Check the port.",
    ProxyIdle "proxy.idle" Proxy Proxy "The proxy cut a quiet connection. Raise its idle time-out to 3 minutes or more.",
    TlsReset "tls.reset" Tls Firewall "The connection ends right after the name HOST is sent: a filter on the server name, or an inspection device. Allow HOST there; another host on the same address tells which.",
    TlsVersion "tls.version" Tls Service "No common TLS version. TLS 1.2 or newer is needed on the whole way.",
    TlsCipher "tls.cipher" Tls Service "No common cipher suite. Allow the suites of TLS 1.2 with ECDHE and AES-GCM, or TLS 1.3.",
    TlsPlaintext "tls.plaintext" Tls Service "Plain text came where TLS was expected: a captive portal, or the wrong port.",
    TlsFailed "tls.failed" Tls Service "The TLS handshake failed. The evidence has the words of the other side.",
    CertIntercepted "cert.intercepted" Certificate InspectionDevice "Something between SERVER and HOST looks into TLS with a certificate of its own. Exempt HOST from inspection. If the issuer is your own authority, trust it with --ca or feed.ca.",
    CertUntrustedRoot "cert.untrusted-root" Certificate ThisServer "Install the root certificate that the evidence names, if it is meant to be trusted.",
    CertIncomplete "cert.incomplete" Certificate Service "An intermediate certificate is missing: the server, or an inspection device before it, does not send it.",
    CertName "cert.name" Certificate Service "The certificate is for other names: DNS or the proxy leads elsewhere than to HOST.",
    CertExpired "cert.expired" Certificate Service "The certificate has expired. If many hosts fail alike, check the clock of SERVER first.",
    CertNotYetValid "cert.not-yet-valid" Certificate ThisServer "The certificate is not valid yet. Check the clock of SERVER.",
    CertRevoked "cert.revoked" Certificate Service "The certificate was revoked. Do not use HOST until its owner has replaced it.",
    CertRevocationUnreachable "cert.revocation-unreachable" Certificate Firewall "Whether the certificate was revoked could not be asked. Allow the addresses in the evidence, usually on port 80.",
    CertInvalid "cert.invalid" Certificate Service "The certificate cannot be used; the evidence says why.",
    HttpCaptive "http.captive" Http Firewall "The network wants a sign-in first. Sign in, or exempt SERVER.",
    HttpTimeout "http.timeout" Http Service "The answer did not come in time: the proxy or the path is too slow. See the times of the phases.",
    HttpUpgrade "http.upgrade" Http Service "The other side insists on another protocol version.",
    HttpLegal "http.legal" Http Proxy "A filtering policy forbids HOST.",
    HttpGateway "http.gateway" Http Proxy "A proxy or gateway on the way cannot reach HOST.",
    HttpProxyAuth "http.proxy-auth" Http Proxy "A proxy on the way that is not configured here wants to know who asks. Exempt HOST there, or configure that proxy.",
    HttpRedirectTarget "http.redirect-target" Http Firewall "HOST works and sends on to a host that does not. Allow that host too.",
    HttpRedirectLoop "http.redirect-loop" Http Service "HOST sends on without end.",
    HttpMalformed "http.malformed" Http Service "The answer is not HTTP as it should be, or its head is larger than 64 KiB.",
    HttpClosed "http.closed" Http Service "The connection was closed before an answer came.",
}

impl Fault {
    /// What to do, with names filled in.
    pub fn advice(self, subject: &Subject<'_>) -> String {
        self.template()
            .replace("PROXY", subject.proxy.unwrap_or("the proxy"))
            .replace("HOST", subject.host)
            .replace("PORT", &subject.port.to_string())
            .replace("SERVER", subject.server)
    }

    /// The fault of a stored code.
    pub fn from_code(code: &str) -> Option<Fault> {
        Self::ALL.iter().copied().find(|fault| fault.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_again() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_code(fault.code()), Some(*fault));
            assert_eq!(
                Fault::ALL
                    .iter()
                    .filter(|other| other.code() == fault.code())
                    .count(),
                1
            );
        }
        assert_eq!(Fault::from_code("cfg.unknown"), None);
    }

    #[test]
    fn advice_names_the_place() {
        let subject = Subject {
            host: "updates.example",
            port: 443,
            server: "SRV1",
            proxy: Some("proxy.example:3128"),
        };
        for fault in Fault::ALL {
            let advice = fault.advice(&subject);
            for place in ["HOST", "PORT", "SERVER", "PROXY"] {
                assert!(!advice.contains(place), "{advice}");
            }
        }
        assert_eq!(
            Fault::TcpTimeout.advice(&subject),
            "Packets vanish. Allow outgoing TCP port 443 from SRV1 to updates.example."
        );
    }
}
