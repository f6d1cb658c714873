//! One thing that several sources may set, and whose word counts.

/// Who sets something. The later ones go before the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// What the domain was created with: its command line and its ramdisk.
    Boot,
    /// The toolstack, while the domain runs.
    Toolstack,
    /// QubesDB, in a qube.
    QubesDb,
}

impl Source {
    /// Every source, the one that goes before all others last.
    const ALL: [Self; 3] = [Self::Boot, Self::Toolstack, Self::QubesDb];
}

/// What each source has set.
#[derive(Clone, Copy, Debug)]
pub struct Setting<T> {
    values: [Option<T>; Source::ALL.len()],
}

impl<T> Default for Setting<T> {
    /// Nobody has set it.
    fn default() -> Self {
        Self { values: [None, None, None] }
    }
}

impl<T> Setting<T> {
    /// What the domain was created with, if that says anything.
    pub fn of_boot(value: Option<T>) -> Self {
        Self { values: [value, None, None] }
    }

    /// Sets it for `source`; with `None` that source says nothing any more.
    pub fn set(&mut self, source: Source, value: Option<T>) {
        // A variant's number is its place.
        if let Some(place) = self.values.get_mut(source as usize) {
            *place = value;
        }
    }

    /// What `source` has set.
    pub fn of(&self, source: Source) -> Option<&T> {
        self.values.get(source as usize).and_then(Option::as_ref)
    }

    /// What is set, the word that goes before all others last.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.values.iter().flatten()
    }

    /// What is in effect, and who set it.
    #[inline(never)]
    pub fn get(&self) -> Option<(&T, Source)> {
        let set = self.values.iter().zip(Source::ALL).rev();
        set.filter_map(|(value, source)| Some((value.as_ref()?, source))).next()
    }

    /// What is in effect.
    pub fn value(&self) -> Option<&T> {
        self.get().map(|(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolstack_s_word_goes_before_that_of_boot_until_it_is_taken_back() {
        let mut setting = Setting::of_boot(Some(1));
        assert_eq!(setting.get(), Some((&1, Source::Boot)));
        setting.set(Source::Toolstack, Some(2));
        assert_eq!(setting.get(), Some((&2, Source::Toolstack)));
        setting.set(Source::Boot, Some(3));
        assert_eq!(setting.value(), Some(&2));
        setting.set(Source::Toolstack, None);
        assert_eq!(setting.get(), Some((&3, Source::Boot)));
        setting.set(Source::Boot, None);
        assert_eq!(setting.get(), None);
    }

    #[test]
    fn qubesdb_s_word_goes_before_all_others() {
        let mut setting = Setting::of_boot(Some(1));
        setting.set(Source::QubesDb, Some(3));
        setting.set(Source::Toolstack, Some(2));
        assert_eq!(setting.get(), Some((&3, Source::QubesDb)));
        assert_eq!(setting.of(Source::Toolstack), Some(&2));
    }
}
