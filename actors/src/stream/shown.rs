//! What the writer shows: frames to readers, and marks to those who watch.

use tierlog_storage::{Offset, planted};

use super::{marks::Marks, shared::StreamShared};

impl StreamShared {
    /// Frames are written up to `end`: `show` puts them where readers look, and only then is the mark
    /// raised that sends readers there.
    pub fn show_written(&self, marks: &Marks, end: Offset, show: impl FnOnce()) {
        if planted::is("mark_before_its_frames") {
            marks.advance_written(end.get());
            self.publish();
            return show();
        }
        show();
        marks.advance_written(end.get());
        self.publish();
    }

    /// Publishes the marks to those who watch.
    pub fn publish(&self) {
        // Looked at inside, so that of two publishers the later one never shows the older state.
        self.watch.send_if_modified(|last| {
            let now = self.watermarks();
            std::mem::replace(last, now) != now
        });
    }

    /// Wakes everybody who watches, even where the marks stay as they are: the door was shut, and a
    /// reader at the end would wait for ever for a mark that never moves again.
    pub fn notify(&self) {
        self.watch.send_modify(|last| *last = self.watermarks());
    }
}
