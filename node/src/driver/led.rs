//! Who has led the files of jobs elsewhere by redirects: what is asked there later goes no nearer than a redirect may lead, whatever the place's
//! name means by then (T-20).

use eddy_content::ResourceUrl;
use eddy_content::http::AddressClass;
use eddy_engine::{FileRef, JobId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By file, of which class the address was that led it to where it is. The task that asks notes it, the driver looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Led(Arc<Mutex<BTreeMap<FileRef, AddressClass>>>);

impl Led {
    /// A file was led somewhere by such an address, or by none.
    pub(super) fn note(&self, file: FileRef, by: Option<AddressClass>) {
        match by {
            Some(class) => drop(self.files().insert(file, class)),
            None => drop(self.files().remove(&file)),
        }
    }

    /// Who leads to `at`, for a file that the job names by `named`, if that is known. Of what was fetched before anybody remembers it may have been
    /// anybody.
    pub(super) fn of(&self, file: FileRef, named: Option<&ResourceUrl>, at: &ResourceUrl) -> Option<AddressClass> {
        let is_elsewhere = named.is_none_or(|named| named.origin() != at.origin());
        is_elsewhere.then(|| self.files().get(&file).copied().unwrap_or(AddressClass::Public))
    }

    /// The job is over.
    pub(super) fn forget(&self, job: JobId) {
        let mut files = self.files();
        while let Some(file) = files.range(FileRef { job, file: 0 }..).next().map(|(file, _)| *file)
            && file.job == job
        {
            files.remove(&file);
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<FileRef, AddressClass>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t20_a_file_that_was_led_elsewhere_stays_one_that_was_led() {
        let led = Led::default();
        let url = |text| ResourceUrl::parse(text).expect("parses");
        let (named, there, elsewhere) = (url("http://a/f"), url("http://a/g"), url("http://b/f"));
        let file = |number| FileRef { job: JobId([number; 16]), file: 0 };
        led.note(file(1), Some(AddressClass::Private));
        led.note(file(2), Some(AddressClass::Loopback));
        assert_eq!(led.of(file(1), Some(&named), &elsewhere), Some(AddressClass::Private));
        assert_eq!(led.of(file(1), Some(&named), &there), None);
        led.forget(JobId([1; 16]));
        assert_eq!(led.of(file(1), Some(&named), &elsewhere), Some(AddressClass::Public), "nobody knows");
        led.note(file(2), None);
        assert_eq!(led.of(file(2), Some(&named), &elsewhere), Some(AddressClass::Public));
        assert_eq!(led.of(file(2), None, &named), Some(AddressClass::Public), "the job may have been told of it");
    }
}
