//! The console in a real browser: set-up, sign-in, every page, the wizard, a live installation and one that rolls back.

mod api;
mod browser;
mod pages;
mod service;
#[path = "../faults/world.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod world;

/// Gives a site that does not run yet an address for console and API, and says which.
fn listen(site: &world::Site) -> String {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let configuration = site.dir.join("tidegate.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    let listening = text.replace(
        "# listen = \"127.0.0.1:8446\"",
        &format!("listen = \"127.0.0.1:{port}\""),
    );
    assert!(listening != text, "{text}");
    std::fs::write(&configuration, listening).unwrap();
    format!("https://localhost:{port}")
}
