//! What people read: lines on stderr with a time and a level, and never a secret.

use state::log::{Level, Log};

use super::errors::Failure;
use crate::resource::tell;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Lines on stderr.
pub struct News {
    least: Level,
    secrets: Vec<String>,
}

impl Default for News {
    fn default() -> News {
        News {
            least: Level::Debug,
            secrets: Vec::new(),
        }
    }
}

impl News {
    /// Lines of this level and above.
    ///
    /// # Errors
    /// When there is no such level.
    pub fn new(level: &str) -> Result<News, Failure> {
        let least = Level::of(level).ok_or_else(|| {
            Failure::new(format!(
                "Unknown level: '{}'; levels are DEBUG, INFO, WARNING, ERROR and CRITICAL",
                level.escape_debug()
            ))
        })?;
        Ok(News {
            least,
            ..News::default()
        })
    }

    /// Hides these texts from here on, wherever they turn up.
    pub fn hide(&mut self, secrets: Vec<String>) {
        self.secrets = secrets;
    }

    /// Tells an error, a line for each of its lines.
    pub fn fail(&mut self, words: &str) {
        self.tell(Level::Error, words);
    }
}

impl Log for News {
    fn tell(&mut self, level: Level, text: &str) {
        if level < self.least {
            return;
        }
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), HIDDEN);
        }
        let now = std::time::SystemTime::now();
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let time = humantime::format_rfc3339_seconds(now).to_string();
        let time = time.replace('T', " ");
        let time = time.trim_end_matches('Z');
        let millis = since.subsec_millis();
        let (text, level) = (terminal::one_line(&text), level.name());
        tell!("{time},{millis:03} - root - {level} - {text}");
    }
}
