//! Where a peer finds its settings and leaves its files.

use std::{
    error::Error,
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::server::Server;

/// A folder of its own for one server, below Cargo's target folder.
#[derive(Debug)]
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    pub fn create(name: &str) -> Result<Self, Box<dyn Error>> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("side_by_side")
            .join(name);
        fs::create_dir_all(folder.join("temp"))?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a settings file, with each `@name@` in it replaced.
    ///
    /// # Errors
    ///
    /// Also if a name is left.
    pub fn write_settings(
        &self,
        template: &str,
        values: &[(&str, String)],
    ) -> Result<PathBuf, Box<dyn Error>> {
        let settings = values
            .iter()
            .fold(template.to_owned(), |text, (name, value)| {
                text.replace(&format!("@{name}@"), value)
            });
        if settings.contains('@') {
            return Err(format!("a name has no value in:\n{settings}").into());
        }
        let path = self.0.join("settings");
        fs::write(&path, settings)?;
        Ok(path)
    }

    /// Starts a server whose words about itself go to a file here, to be shown if it ends early.
    pub fn start(&self, command: &mut Command, addr: SocketAddr) -> Result<Server, Box<dyn Error>> {
        let said = self.0.join("said");
        command.stderr(File::create(&said)?);
        Server::start(command, addr).map_err(|error| {
            let said = fs::read_to_string(&said).unwrap_or_default();
            format!("{command:?}: {error}\n{said}").into()
        })
    }

    /// The user that nginx's workers become if root starts it: its own could not read the files.
    pub fn owner(&self) -> Result<&'static str, Box<dyn Error>> {
        let is_root = fs::metadata(&self.0)?.uid() == 0;
        Ok(if is_root { "root" } else { "nobody" })
    }
}
