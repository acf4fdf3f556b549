package docs;

import java.util.List;

/** A document as it was at one moment. */
public final class Frozen {
    private final String title;
    private final List<String> lines;

    Frozen(String title, List<String> lines) {
        this.title = title;
        this.lines = List.copyOf(lines);
    }

    public String title() {
        return title;
    }

    public List<String> lines() {
        return lines;
    }
}
