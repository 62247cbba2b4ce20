//! How much memory a program takes at most.

use std::path::{Path, PathBuf};

/// How much memory a program that still runs has taken at most so far, in kilobytes.
pub fn peak_of(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Where GNU time writes it.
pub struct Peak(PathBuf);

impl Peak {
    /// Has it written into this folder.
    pub fn in_folder(folder: &Path) -> Peak {
        Peak(folder.join("peak"))
    }

    /// The command that runs the one after it, and measures that.
    pub fn time(&self) -> [&str; 6] {
        let path = self.0.to_str().unwrap();
        ["/usr/bin/time", "-q", "-f", "%M", "-o", path]
    }

    /// What was measured, in kilobytes.
    pub fn kilobytes(&self) -> usize {
        let text = std::fs::read_to_string(&self.0).unwrap();
        text.trim().parse().unwrap()
    }
}
