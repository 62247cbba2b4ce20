//! A headless Chromium, driven by Debian's `chromedriver`.
//!
//! WebDriver is JSON over HTTP: a dozen calls of it need no library. What goes beyond it (a narrow window, dark colours, no
//! scripts) is asked for by `goog/cdp/execute`. `ci/setup page` installs all of it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::git::hermetic;
use crate::server::{Process, program};
use crate::{DEADLINE, wait_until};

/// The key that a shell calls Tab, as WebDriver writes it; others are in the same place of Unicode.
pub const TAB: &str = "\u{e004}";
/// The key Return.
pub const ENTER: &str = "\u{e007}";

/// A width at which a phone shows a page.
pub const NARROW: (u32, u32) = (360, 740);
/// A width at which people at a desk see it.
pub const WIDE: (u32, u32) = (1200, 800);

/// A browser with a profile of its own. It ends with its value.
pub struct Browser {
    _driver: Process,
    port: u16,
    session: String,
    _home: TempDir,
}

impl Browser {
    /// Starts one.
    pub fn start() -> Browser {
        let home = tempfile::tempdir().unwrap();
        let (driver, port) = Process::on_free_port("chromedriver", |port| {
            let mut command = Command::new(program("chromedriver"));
            hermetic(&mut command)
                .arg(format!("--port={port}"))
                .arg("--log-level=OFF")
                .env("HOME", home.path())
                .env("TMPDIR", home.path())
                .stderr(Stdio::null());
            command
        });
        let profile = format!("--user-data-dir={}/profile", home.path().display());
        let options = json!({
            "binary": program("chromium"),
            // Without a sandbox: tests run as root too, and the pages are ours.
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-extensions", "--no-proxy-server", "--hide-scrollbars", profile,
            ],
        });
        let capabilities = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": options,
        });
        let mut browser = Browser {
            _driver: driver,
            port,
            session: String::new(),
            _home: home,
        };
        let body = json!({"capabilities": {"alwaysMatch": capabilities}});
        let answer = browser.ask("POST", "/session", &body).unwrap();
        browser.session = answer["sessionId"].as_str().unwrap().to_owned();
        browser.window(WIDE);
        browser
    }

    /// One command of WebDriver, or what the driver says against it.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let mut stream =
            TcpStream::connect(("127.0.0.1", self.port)).map_err(|err| err.to_string())?;
        stream.set_read_timeout(Some(2 * DEADLINE)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream
            .write_all(request.as_bytes())
            .map_err(|err| err.to_string())?;
        let answer = content(&mut stream).map_err(|err| err.to_string())?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|err| err.to_string())?;
        match answer["value"].get("error") {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    #[track_caller]
    fn command(&self, method: &str, below: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{below}", self.session);
        self.ask(method, &path, body)
            .unwrap_or_else(|err| panic!("{method} {below} {body}: {err}"))
    }

    /// What Chromium's own protocol has beyond WebDriver.
    #[track_caller]
    fn chromium(&self, command: &str, params: &Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.command("POST", "goog/cdp/execute", &body)
    }

    /// Opens a page, and waits until it is there.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.command("POST", "url", &json!({"url": url}));
    }

    /// Opens the page again.
    #[track_caller]
    pub fn reload(&self) {
        self.command("POST", "refresh", &json!({}));
    }

    /// Where the browser is.
    #[track_caller]
    pub fn url(&self) -> String {
        text_of(&self.command("GET", "url", &Value::Null))
    }

    /// The page's title.
    #[track_caller]
    pub fn title(&self) -> String {
        text_of(&self.command("GET", "title", &Value::Null))
    }

    /// Runs a script in the page, also where the page itself may run none, and gives what it returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.command(
            "POST",
            "execute/sync",
            &json!({"script": script, "args": []}),
        )
    }

    /// The texts of all elements of a selector, as they are seen.
    #[track_caller]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = format!(
            "return [...document.querySelectorAll({})].map((one) => (one.innerText ?? one.textContent).trim())",
            json!(selector)
        );
        let found = self.run(&script);
        found.as_array().unwrap().iter().map(text_of).collect()
    }

    /// The text of the first element of a selector; empty if there is none.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        self.texts(selector).into_iter().next().unwrap_or_default()
    }

    /// How many elements of a selector there are.
    #[track_caller]
    pub fn count(&self, selector: &str) -> usize {
        let script = format!(
            "return document.querySelectorAll({}).length",
            json!(selector)
        );
        self.run(&script).as_u64().unwrap() as usize
    }

    /// Waits until the first element of a selector has this text in it.
    #[track_caller]
    pub fn shows(&self, selector: &str, text: &str) {
        let start = std::time::Instant::now();
        while !self.text(selector).contains(text) {
            assert!(
                start.elapsed() < DEADLINE,
                "`{text}` is not in {selector}, which has `{}`; {} has: {}",
                self.text(selector),
                self.url(),
                self.text("body")
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Waits until a script returns `true`.
    #[track_caller]
    pub fn until(&self, what: &str, script: &str) {
        wait_until(what, || self.run(script) == true);
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let body = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "element", &body);
        let id = found.as_object().unwrap().values().next().unwrap();
        text_of(id)
    }

    /// Clicks on the first element of a selector, as somebody with a mouse would: it has to be seen.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let id = self.element(selector);
        self.command("POST", &format!("element/{id}/click"), &json!({}));
    }

    /// Puts a text into a field, in place of what is there.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        let id = self.element(selector);
        self.command("POST", &format!("element/{id}/clear"), &json!({}));
        self.command(
            "POST",
            &format!("element/{id}/value"),
            &json!({"text": text}),
        );
    }

    /// Takes one of the choices of a field.
    #[track_caller]
    pub fn choose(&self, selector: &str, text: &str) {
        let id = self.element(selector);
        let keys = json!({"text": text});
        self.command("POST", &format!("element/{id}/value"), &keys);
    }

    /// Presses keys, wherever the keyboard is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let one = |key: char| {
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        };
        let actions: Vec<Value> = keys.chars().flat_map(one).collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.command("POST", "actions", &body);
    }

    /// The text of what the keyboard is at.
    #[track_caller]
    pub fn focused(&self) -> String {
        text_of(&self.run(
            "const at = document.activeElement; return (at.innerText || at.getAttribute('aria-label') || at.name || at.id || '').trim()",
        ))
    }

    /// Gives the window another size, as [`NARROW`] or [`WIDE`].
    #[track_caller]
    pub fn window(&self, (width, height): (u32, u32)) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Asks pages for dark colours, or for light ones.
    #[track_caller]
    pub fn dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let wish = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.chromium("Emulation.setEmulatedMedia", &wish);
    }

    /// Lets pages run scripts, or not.
    #[track_caller]
    pub fn scripts(&self, are_on: bool) {
        self.chromium(
            "Emulation.setScriptExecutionDisabled",
            &json!({"value": !are_on}),
        );
    }

    /// The cookies of the page, with all that is said of them.
    #[track_caller]
    pub fn cookies(&self) -> Vec<Value> {
        let all = self.command("GET", "cookie", &Value::Null);
        all.as_array().unwrap().clone()
    }

    /// How far the page is wider than its window, in pixels.
    #[track_caller]
    pub fn overhang(&self) -> i64 {
        let script =
            "const root = document.documentElement; return root.scrollWidth - root.clientWidth";
        self.run(script).as_i64().unwrap()
    }

    /// Errors and warnings of the browser's console since it was last asked: scripts that failed, what the content security
    /// policy stopped, what could not be loaded.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "se/log", &json!({"type": "browser"}));
        let entries = log.as_array().unwrap().iter();
        let grave =
            entries.filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        grave.map(|entry| text_of(&entry["message"])).collect()
    }

    /// What axe finds that is serious or worse: a line for each rule and place.
    #[track_caller]
    pub fn barriers(&self) -> Vec<String> {
        let axe = fs::read_to_string(axe()).unwrap();
        // The driver runs it, not the page: the page's policy does not count for it.
        self.run(&format!("if (!window.axe) {{ {axe} }}"));
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { preload: false }).then(
              (found) => done(found.violations
                .filter((one) => ['serious', 'critical'].includes(one.impact))
                .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html}: ${node.failureSummary}`))),
              (err) => done([String(err)]))";
        self.command(
            "POST",
            "timeouts",
            &json!({"script": DEADLINE.as_millis() as u64}),
        );
        let found = self.command(
            "POST",
            "execute/async",
            &json!({"script": script, "args": []}),
        );
        found.as_array().unwrap().iter().map(text_of).collect()
    }

    /// A picture of the page, as high as it is, up to `most` pixels.
    #[track_caller]
    pub fn picture(&self, most: u32) -> Vec<u8> {
        let script =
            "const root = document.documentElement; return [root.clientWidth, root.scrollHeight]";
        let size = self.run(script);
        let (width, height) = (size[0].as_u64().unwrap(), size[1].as_u64().unwrap());
        let height = height.min(u64::from(most));
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let picture = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.chromium("Page.captureScreenshot", &picture);
        BASE64_STANDARD
            .decode(answer["data"].as_str().unwrap())
            .unwrap()
    }

    /// Stores a picture of the page.
    #[track_caller]
    pub fn store_picture(&self, path: &Path, most: u32) {
        fs::write(path, self.picture(most)).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The driver ends the browser.
            let _ = self.ask(
                "DELETE",
                &format!("/session/{}", self.session),
                &Value::Null,
            );
        }
    }
}

#[track_caller]
fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The body of an answer that says how long it is.
fn content(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0);
            let mut body = all.split_off(end + 4);
            let missing = length.saturating_sub(body.len());
            let had = body.len();
            body.resize(had + missing, 0);
            stream.read_exact(&mut body[had..])?;
            body.truncate(length);
            return Ok(body);
        }
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

/// The script of axe, which `ci/setup page` puts beside what was built.
fn axe() -> PathBuf {
    let asking = std::env::current_exe().unwrap();
    let path = asking.ancestors().nth(3).unwrap().join("page/axe.min.js");
    assert!(
        path.is_file(),
        "there is no {}; ci/setup page gets it",
        path.display()
    );
    path
}
