//! Negotiate (RFC 4559) with the tickets of this process, by the platform's Kerberos library. The build
//! feature `negotiate` brings it; without it, nothing here is available.

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("no Kerberos ticket can be had for {service}: {why}")]
pub struct NegotiateError {
    service: String,
    why: String,
}

#[cfg(feature = "negotiate")]
mod library {
    use libgssapi::context::{ClientCtx, CtxFlags};
    use libgssapi::name::Name;
    use libgssapi::oid::{GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE};

    use super::NegotiateError;

    /// Whether the library is there.
    pub const AVAILABLE: bool = true;

    /// One authentication to one proxy.
    pub struct Negotiate {
        context: ClientCtx,
        service: String,
    }

    impl Negotiate {
        /// Begins an authentication to the proxy of this host name.
        pub fn new(host: &str) -> Result<Self, NegotiateError> {
            let service = format!("HTTP@{host}");
            let name = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE.clone()));
            let name = name.map_err(|failure| NegotiateError {
                service: service.clone(),
                why: failure.to_string(),
            })?;
            // Without a credential of its own, the context uses the ticket cache of the process.
            let context = ClientCtx::new(
                None,
                name,
                CtxFlags::GSS_C_MUTUAL_FLAG,
                Some(GSS_MECH_SPNEGO.clone()),
            );
            Ok(Negotiate { context, service })
        }

        /// The next token, to what the proxy said last. May ask the key distribution centre: blocks.
        pub fn step(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>, NegotiateError> {
            let next = self.context.step(token, None).map_err(|failure| NegotiateError {
                service: self.service.clone(),
                why: failure.to_string(),
            })?;
            Ok(next.map(|token| token.to_vec()).unwrap_or_default())
        }
    }
}

#[cfg(not(feature = "negotiate"))]
mod library {
    use super::NegotiateError;

    /// Whether the library is there.
    pub const AVAILABLE: bool = false;

    /// Never made.
    pub struct Negotiate(std::convert::Infallible);

    impl Negotiate {
        /// Says that this build cannot.
        pub fn new(host: &str) -> Result<Self, NegotiateError> {
            Err(NegotiateError {
                service: format!("HTTP@{host}"),
                why: "this program is built without the feature negotiate".into(),
            })
        }

        /// Never called.
        pub fn step(&mut self, _token: Option<&[u8]>) -> Result<Vec<u8>, NegotiateError> {
            match self.0 {}
        }
    }
}

pub use library::{AVAILABLE, Negotiate};
