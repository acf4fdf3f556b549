package app;

import java.util.List;

/** Lists in pages. */
public final class Pages {
    private Pages() {}

    /** The items of a page, counted from 1; empty after the last one. */
    public static <T> List<T> page(List<T> items, int number, int size) {
        if (number < 1 || size < 1) {
            throw new IllegalArgumentException("number and size begin at 1");
        }
        int start = (number - 1) * size;
        int end = Math.min(start + size, items.size());
        return List.copyOf(items.subList(start, end));
    }

    /** How many pages a list of this length has. */
    public static int count(int items, int size) {
        return (items + size - 1) / size;
    }
}
