//! Takes pictures of pages, for `ci/screenshot`.
//!
//!     pictures FOLDER SIGN-IN NAME=URL...
//!
//! Opens SIGN-IN and sends its form, if it is not empty; then each page, in a wide window (light and dark) and in a narrow
//! one, and stores NAME.png, NAME-dark.png and NAME-narrow.png.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use support::Browser;
use support::browser::{NARROW, WIDE};

/// How high a picture is at most.
const MOST: u32 = 1600;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, sign_in, pages @ ..] = &args[..] else {
        panic!("pictures FOLDER SIGN-IN NAME=URL...");
    };
    let browser = Browser::start();
    if !sign_in.is_empty() {
        browser.open(sign_in);
        browser.click("main button[type=submit]");
    }
    for page in pages {
        let (name, url) = page.split_once('=').unwrap();
        for (end, size, is_dark) in [
            ("", WIDE, false),
            ("-dark", WIDE, true),
            ("-narrow", NARROW, false),
        ] {
            browser.window(size);
            browser.dark(is_dark);
            browser.open(url);
            browser.store_picture(&Path::new(folder).join(format!("{name}{end}.png")), MOST);
        }
    }
}
