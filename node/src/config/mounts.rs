//! The mounts that `eddy gateway enable` has written into files of their own, in the home, one for each tool.

use super::gateway::MountSettings;
use super::{ConfigError, Settings, read};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where `eddy gateway enable` writes what it mounts, a file for each tool.
#[must_use]
pub fn mounts_of(home: &Path) -> PathBuf {
    home.join("gateway")
}

/// Adds the mounts that `eddy gateway enable` has written into files of their own. A folder of them that is there and cannot be read is an
/// error, as a file is: what tools were led to must not be missing in silence.
pub(super) fn add(home: &Path, settings: &mut Settings) -> Result<(), ConfigError> {
    let folder = mounts_of(home);
    let failed = |source| ConfigError::Read { path: folder.clone(), source };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "toml"));
    paths.sort();
    for path in paths {
        settings.gateway.mount.extend(mounts_in(&path, &read(&path)?.unwrap_or_default())?);
    }
    settings.check()
}

/// The mounts of such a file.
fn mounts_in(path: &Path, text: &str) -> Result<Vec<MountSettings>, ConfigError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Mounts {
        #[serde(default)]
        mount: Vec<MountSettings>,
    }
    let wrong = |error: toml::de::Error| ConfigError::Parse { path: path.to_path_buf(), message: error.to_string() };
    Ok(toml::from_str::<Mounts>(text).map_err(wrong)?.mount)
}

impl Settings {
    /// Whether they would still be good with the mounts of such a text, which is to stand at `path`.
    pub fn check_mounts(&self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let mut gateway = self.gateway.clone();
        gateway.mount.extend(mounts_in(path, text)?);
        gateway.plan()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    const MOUNT: &str = "[[mount]]\npath = \"/a\"\norigin = \"https://h\"\n";

    #[test]
    fn a_folder_that_is_there_and_cannot_be_read_is_no_empty_one() {
        let home = tempfile::tempdir().unwrap();
        assert!(load(home.path(), None).unwrap().gateway.mount.is_empty());
        // Also root cannot list a file.
        std::fs::write(mounts_of(home.path()), "").unwrap();
        assert!(matches!(load(home.path(), None), Err(ConfigError::Read { .. })));
        std::fs::remove_file(mounts_of(home.path())).unwrap();
        std::fs::create_dir(mounts_of(home.path())).unwrap();
        std::fs::write(mounts_of(home.path()).join("x.toml"), MOUNT).unwrap();
        assert_eq!(load(home.path(), None).unwrap().gateway.mount.len(), 1);
    }

    #[test]
    fn mounts_that_would_be_no_configuration_are_known_before_they_are_written() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings::default();
        let check = |text: &str| settings.check_mounts(home.path(), text);
        assert!(check(MOUNT).is_ok());
        assert!(check(&MOUNT.repeat(2)).is_err(), "the same path twice");
        assert!(check("[[mount]]\npath = \"/a\"\norigin = \"https://u:p@h\"\n").is_err());
    }
}
