package app;

/** Lists in pages. */
public final class Pages {
    private Pages() {}

    /** How many pages a list of this length has. */
    public static int count(int items, int size) {
        return (items + size - 1) / size;
    }
}
