//! What went wrong while an exec was recorded, each thing by its own name to the end.

bitflags::bitflags! {
    /// Faults of a record or of a part of it; the numbers are those of bpf/interface.h.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Faults: u32 {
        const ERROR = 0x1;
        const TOO_MANY_ITEMS = 0x2;
        const COMM_UNREADABLE = 0x4;
        const POSSIBLE_TRUNCATION = 0x8;
        const POINTER_UNREADABLE = 0x10;
        const NO_ROOM = 0x20;
        const STRING_UNREADABLE = 0x40;
        const FDS_UNREADABLE = 0x80;
        const OUTPUT_FAILED = 0x100;
        const FLAGS_UNREADABLE = 0x200;
        const DROPPED = 0x400;
        const BAILED_OUT = 0x800;
        const LOOP_FAILED = 0x1000;
        const PATH_UNREADABLE = 0x2000;
        const INODE_UNREADABLE = 0x4000;
        const MOUNT_ID_UNREADABLE = 0x8000;
        const FILENAME_UNREADABLE = 0x10000;
        const POSITION_UNREADABLE = 0x20000;
    }
}

impl Faults {
    /// Each of them, in words for people.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let words = [
            "something went wrong",
            "too many items",
            "the command name could not be read",
            "something may be cut",
            "a pointer could not be read",
            "no room",
            "a string could not be read",
            "the descriptors could not be read",
            "a part could not be sent",
            "a descriptor's flags could not be read",
            "a part was lost",
            "given up",
            "a loop failed",
            "a path could not be read",
            "an inode could not be read",
            "a mount's id could not be read",
            "the file name could not be read",
            "a file's position could not be read",
        ];
        words
            .into_iter()
            .enumerate()
            .filter(move |(at, _)| self.bits() >> at & 1 != 0)
            .map(|(_, words)| words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_words_of_its_own() {
        let words: Vec<&str> = Faults::all().words().collect();
        let distinct: std::collections::HashSet<&&str> = words.iter().collect();
        assert_eq!((words.len(), distinct.len()), (18, 18));
        assert_eq!(
            Faults::STRING_UNREADABLE.words().collect::<Vec<_>>(),
            ["a string could not be read"]
        );
    }
}
