//! The API against a client that knows only its OpenAPI description and sends whatever fits it, or nearly does; and
//! what people send who mean harm.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

use crate::world::{Running, Site, World, now};

/// Requests for each operation.
const TRIES: usize = 25;

/// A running site with its API at a port, and a token for it.
pub struct Served {
    _world: World,
    site: Site,
    _running: Running,
    url: String,
    token: String,
}

impl Served {
    fn new() -> Self {
        let world = World::with_sample(now());
        let site = world.site("site");
        let url = crate::listen(&site);
        let token = site.must(&["user", "token", "fuzz"]);
        Served {
            _running: site.started(),
            _world: world,
            site,
            url,
            token: token.trim().to_owned(),
        }
    }

    fn client(&self) -> reqwest::Client {
        let certificate = std::fs::read(self.site.dir.join("secrets/api.pem")).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&certificate).unwrap()])
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap()
    }
}

/// A word that a parameter might be, or should not be.
fn word(random: &mut ChaCha8Rng) -> String {
    const WORDS: [&str; 20] = [
        "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2",
        "SMS_DMP_DOWNLOADER",
        "error",
        "basic",
        "offline",
        "0",
        "-1",
        "18446744073709551616",
        "2026-11-21T00:00:00Z",
        "9999-99-99",
        "../../etc/passwd",
        "%00",
        "' OR 1=1 --",
        "<script>",
        "",
        " ",
        "\u{202e}",
        "true",
        "all",
        "devices",
    ];
    match random.next_u32() % 8 {
        0 => "x".repeat((random.next_u32() % 4000) as usize),
        _ => WORDS[random.next_u32() as usize % WORDS.len()].to_owned(),
    }
}

/// A value of a schema, mostly.
fn value(schema: &Value, all: &Value, random: &mut ChaCha8Rng, depth: usize) -> Value {
    if random.next_u32().is_multiple_of(12) || depth > 6 {
        return [
            json!(null),
            json!(true),
            json!(-5),
            json!(1e300),
            json!([]),
            json!({}),
            json!("x"),
        ][random.next_u32() as usize % 7]
            .clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return value(&all["components"]["schemas"][name], all, random, depth + 1);
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[random.next_u32() as usize % words.len()].clone();
    }
    let kind = schema["type"]
        .as_array()
        .map_or(&schema["type"], |kinds| &kinds[0]);
    match kind.as_str() {
        Some("integer") => json!(i64::from(random.next_u32() as i32)),
        Some("boolean") => json!(random.next_u32().is_multiple_of(2)),
        Some("array") => {
            let count = random.next_u32() % 4;
            (0..count)
                .map(|_| value(&schema["items"], all, random, depth + 1))
                .collect()
        }
        Some("object") => {
            let mut object = serde_json::Map::new();
            for (name, part) in schema["properties"].as_object().into_iter().flatten() {
                if !random.next_u32().is_multiple_of(5) {
                    object.insert(name.clone(), value(part, all, random, depth + 1));
                }
            }
            Value::Object(object)
        }
        _ => json!(word(random)),
    }
}

#[tokio::test]
async fn whatever_fits_the_description_is_answered_without_a_failure_of_the_site() {
    let served = Served::new();
    let client = served.client();
    let description: Value = client
        .get(format!("{}/v1/openapi.json", served.url))
        .bearer_auth(&served.token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut answered = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // The stream of events does not end, and a check of all endpoints takes its time.
            if path == "/v1/events" || path == "/v1/internet/check" || path == "/v1/scp/proxy/test" {
                continue;
            }
            for _ in 0..TRIES {
                let mut target = path.clone();
                let mut query = Vec::new();
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let name = parameter["name"].as_str().unwrap();
                    let text = word(&mut random);
                    match parameter["in"].as_str() {
                        Some("path") => {
                            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                            target = target.replace(
                                &format!("{{{name}}}"),
                                if encoded.is_empty() { "x" } else { &encoded },
                            );
                        }
                        _ if random.next_u32().is_multiple_of(2) => query.push((name.to_owned(), text)),
                        _ => {}
                    }
                }
                let mut request = client
                    .request(
                        method.to_uppercase().parse().unwrap(),
                        format!("{}{target}", served.url),
                    )
                    .query(&query)
                    .bearer_auth(&served.token);
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                if !schema.is_null() {
                    request = request.json(&value(schema, &description, &mut random, 0));
                }
                let answer = request.send().await.unwrap();
                let status = answer.status();
                let text = answer.text().await.unwrap();
                // 503 is an answer of the site's state, such as a feed that was never read; all else above 499 is not.
                let stands = status.as_u16() < 500 || status.as_u16() == 503 && text.contains("\"detail\"");
                assert!(
                    stands,
                    "seed {seed}: {method} {target} {query:?}: {status} {text}"
                );
                if status.is_client_error() {
                    let problem: Value =
                        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{target}: {text}"));
                    assert_eq!(problem["status"], status.as_u16(), "{target}: {text}");
                }
                answered += 1;
            }
        }
    }
    assert!(answered > 1000, "{answered}");
    assert!(
        !served.site.all_logs().contains("panic"),
        "{}",
        served.site.all_logs()
    );
}

#[tokio::test]
async fn who_means_harm_is_turned_away() {
    let served = Served::new();
    let client = served.client();
    // Bodies larger than any of ours, with and without a session.
    for path in ["/sign-in", "/setup", "/v1/throttle"] {
        let sent = client
            .post(format!("{}{path}", served.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(vec![b'a'; 2_000_000])
            .send()
            .await;
        // It may hang up before everything was sent.
        let refused = sent.map_or(true, |answer| answer.status().is_client_error());
        assert!(refused, "{path}");
    }
    // Logs are read by names of ours only.
    for name in ["../tidegate.toml", "..%2Ftidegate.toml", "/etc/passwd", "site.db"] {
        let answer = client
            .get(format!("{}/logs?name={name}", served.url))
            .send()
            .await
            .unwrap();
        let text = answer.text().await.unwrap();
        assert!(text.contains("Sign in") && !text.contains("feed"), "{text}");
    }
    // A cookie is nothing for the API, a token nothing for the console.
    let answer = client
        .get(format!("{}/v1/site", served.url))
        .header("cookie", "__Host-tidegate=abc")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    let answer = client
        .get(format!("{}/overview", served.url))
        .bearer_auth(&served.token)
        .send()
        .await
        .unwrap();
    assert!(answer.url().path().starts_with("/sign-in"), "{}", answer.url());
    // Guesses from one address are slowed down, whatever names they try.
    let mut slowed = false;
    for number in 0..30 {
        let answer = client
            .post(format!("{}/sign-in", served.url))
            .form(&[("name", format!("user{number}").as_str()), ("password", "guess")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401);
        slowed |= answer.text().await.unwrap().contains("too many attempts");
    }
    assert!(slowed);
}

#[test]
fn who_never_finishes_a_handshake_is_hung_up_on() {
    let served = Served::new();
    let address = served
        .url
        .strip_prefix("https://")
        .unwrap()
        .replace("localhost", "127.0.0.1");
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    slow.write_all(&[0x16, 0x03, 0x01]).unwrap();
    let mut rest = Vec::new();
    // The end comes from the site; a time-out of ours would be an error.
    slow.read_to_end(&mut rest).unwrap();
    // Everybody else was served meanwhile.
    assert!(served.site.must(&["site", "show"]).contains("P01"));
}
