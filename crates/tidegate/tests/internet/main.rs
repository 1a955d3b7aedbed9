//! Internet access against real peers on loopback: nginx, Squid, a name server, and servers that misbehave
//! as no real one can be told to. The facts I1 to I16 of the specification are tests by name.

mod authorities;
mod check;
mod facts;
#[cfg(feature = "negotiate")]
mod kerberos;
mod nginx;
mod proxies;
mod site;
mod squid;
mod stubs;
mod tool;
mod usage_data;
