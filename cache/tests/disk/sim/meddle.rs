//! Foreign hands on a disk that no store has open: rot, and files that are taken, put, swapped and cut.

use super::medium::{Content, Medium, Node};
use std::path::{Path, PathBuf};

impl Medium {
    /// The paths of all files.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files().into_iter().map(|(path, _)| path).collect()
    }

    /// The paths of all directories.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.cached.iter().filter(|(_, node)| **node == Node::Directory).map(|(path, _)| path.clone()).collect()
    }

    /// What stands in a file.
    pub(crate) fn content(&self, path: &Path) -> Option<&[u8]> {
        match self.node(path)? {
            Node::File(inode) => Some(self.bytes(inode)),
            Node::Directory => None,
        }
    }

    /// Puts a file there, in place of what was there.
    pub(crate) fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        self.last += 1;
        self.files.insert(self.last, Content::of(bytes));
        self.name(path, Node::File(self.last));
    }

    /// Puts a directory there.
    pub(crate) fn put_directory(&mut self, path: &Path) {
        self.name(path, Node::Directory);
    }

    /// Takes away whatever has this path, and all that is in it.
    pub(crate) fn take(&mut self, path: &Path) {
        for names in [&mut self.cached, &mut self.durable] {
            names.retain(|name, _| !name.starts_with(path));
        }
    }

    /// Lets two files change their places.
    pub(crate) fn swap(&mut self, one: &Path, other: &Path) {
        if let (Some(first), Some(second)) = (self.node(one), self.node(other)) {
            self.name(one, second);
            self.name(other, first);
        }
    }

    /// Changes the bytes of a file.
    pub(crate) fn edit(&mut self, path: &Path, edit: impl Fn(&mut Vec<u8>)) {
        let Some(Node::File(inode)) = self.node(path) else { return };
        if let Some(content) = self.files.get_mut(&inode) {
            edit(&mut content.cached);
            edit(&mut content.durable);
        }
    }

    fn name(&mut self, path: &Path, node: Node) {
        for names in [&mut self.cached, &mut self.durable] {
            names.insert(path.to_owned(), node);
        }
    }
}
