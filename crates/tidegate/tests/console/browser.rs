//! A real browser, driven by the Chrome DevTools Protocol over its two pipes; ended by its process id.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
    session: Option<String>,
    /// What its console complained of since the last look.
    complaints: Vec<String>,
    /// Bytes of answers since the last look.
    received: f64,
    requests: u32,
    loaded: bool,
    _profile: tempfile::TempDir,
}

/// What a visit cost.
#[derive(Debug)]
pub struct Visit {
    /// Bytes that came over the network, headers included.
    pub bytes: f64,
    pub requests: u32,
    /// Milliseconds to the first contentful paint.
    pub first_paint_ms: f64,
}

impl Browser {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It reads commands from descriptor 3 and answers on 4; the shell makes them of our pipes.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null",
                "chromium",
            ])
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
            ])
            .args([
                "--no-first-run",
                "--ignore-certificate-errors",
                "--window-size=1280,900",
            ])
            .args([
                "--force-color-profile=srgb",
                "--disable-dev-shm-usage",
                "--lang=en",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium could not be started; `cargo xtask test` installs it");
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Browser {
            child,
            to,
            from: BufReader::new(from),
            next: 0,
            session: None,
            complaints: Vec::new(),
            received: 0.0,
            requests: 0,
            loaded: false,
            _profile: profile,
        };
        let made = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = &made["targetId"];
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({"targetId": target, "flatten": true}),
        );
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and waits for its answer; events are taken note of on the way.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.to.write_all(command.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        self.to.flush().unwrap();
        loop {
            let message = self.receive();
            if message["id"] == json!(id) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser ended");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded = true,
            Some("Network.requestWillBeSent") => self.requests += 1,
            Some("Network.loadingFinished") => {
                self.received += parameters["encodedDataLength"].as_f64().unwrap_or(0.0);
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(parameters.to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => {
                self.complaints.push(parameters.to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.complaints.push(parameters["entry"].to_string());
            }
            _ => {}
        }
        message
    }

    /// Opens a page and waits until it is there.
    pub fn open(&mut self, url: &str) -> Visit {
        (self.received, self.requests, self.loaded) = (0.0, 0, false);
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait_for_load();
        let paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? \
            new Promise(done => new PerformanceObserver(list => list.getEntriesByName('first-contentful-paint') \
            .forEach(entry => done(entry.startTime))).observe({type: 'paint', buffered: true}))";
        let first_paint_ms = self.evaluate(paint).as_f64().unwrap_or(f64::NAN);
        Visit {
            bytes: self.received,
            requests: self.requests,
            first_paint_ms,
        }
    }

    fn wait_for_load(&mut self) {
        while !self.loaded {
            self.receive();
        }
    }

    /// Does something that leads to another page, and waits for that.
    pub fn follow(&mut self, script: &str) {
        self.loaded = false;
        self.evaluate(&format!("{script}; true"));
        self.wait_for_load();
    }

    /// The value of an expression on the page; promises are waited for.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", &asked);
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].clone()
    }

    /// Waits, on the page, until an expression holds.
    pub fn until(&mut self, expression: &str) {
        let waiting = format!(
            "new Promise((done, failed) => {{ const begin = performance.now(); const look = () => {{ \
             if ({expression}) return done(true); \
             if (performance.now() - begin > 60000) return failed(new Error('never: ' + document.body.innerText)); \
             requestAnimationFrame(look); }}; look(); }})"
        );
        self.evaluate(&waiting);
    }

    /// The text of the page as people read it.
    pub fn text(&mut self) -> String {
        self.evaluate("document.body.innerText")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// What the console complained of since the last look.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Keeps a picture of the whole page, for people to look at.
    pub fn picture(&mut self, name: &str) {
        // Where this test happens to run is none of a reader's business.
        self.evaluate(
            "{ const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); \
             while (walk.nextNode()) walk.currentNode.nodeValue = \
             walk.currentNode.nodeValue.replace(/\\/tmp\\/[^\\/]+/g, '/srv'); } true",
        );
        let shot = self.call(
            "Page.captureScreenshot",
            &json!({"format": "png", "captureBeyondViewport": true}),
        );
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().unwrap())
            .unwrap();
        let folder = pictures();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), &bytes).unwrap();
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/images");
        let shown = guide.join(format!("{name}.png"));
        if shown.exists() && std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(shown, bytes).unwrap();
        }
    }

    /// Findings of axe that are serious or worse, on the page as it is.
    pub fn accessibility_findings(&mut self) -> Vec<String> {
        let rules = std::fs::read_to_string(axe()).unwrap();
        self.evaluate(&format!("{rules}; true"));
        let found = self.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(result => result.violations \
             .filter(one => ['serious', 'critical'].includes(one.impact)) \
             .map(one => one.id + ': ' + one.nodes.map(node => node.html + ' ' + node.failureSummary).join(' | ')))",
        );
        let found = found.as_array().unwrap();
        found.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where pictures are kept.
fn pictures() -> PathBuf {
    target().join("console")
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

/// The rules of axe-core, from the Python package that carries them; fetched once.
fn axe() -> PathBuf {
    let folder = target().join("axe");
    let rules = folder.join("lib/axe_playwright_python/axe.min.js");
    if rules.exists() {
        return rules;
    }
    std::fs::create_dir_all(&folder).unwrap();
    // Tests run side by side; the first one fetches.
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !rules.exists() {
        let run = |command: &mut Command| {
            let output = command.output().expect("python3 could not be started");
            assert!(
                output.status.success(),
                "{command:?} failed; install python3-venv, and let pip reach a package index.\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(folder.join("venv")));
        run(Command::new(folder.join("venv/bin/pip"))
            .args([
                "install",
                "--quiet",
                "--no-deps",
                "axe-playwright-python==0.1.8",
                "--target",
            ])
            .arg(folder.join("lib")));
    }
    rules
}
