package docs;

import java.util.ArrayList;
import java.util.List;

/** A text that is being written. */
public class Document {
    private String title;
    private final List<String> lines = new ArrayList<>();

    public Document(String title) {
        this.title = title;
    }

    public void rename(String title) {
        this.title = title;
    }

    public void append(String line) {
        lines.add(line);
    }

    /** The document as it is now. */
    public Frozen freeze() {
        return new Frozen(title, lines);
    }

    public String text() {
        return title + "\n" + String.join("\n", lines);
    }
}
