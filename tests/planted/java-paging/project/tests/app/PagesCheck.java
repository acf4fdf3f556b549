package app;

public final class PagesCheck {
    public static void main(String[] args) {
        assert Pages.count(0, 10) == 0;
        assert Pages.count(10, 10) == 1;
        assert Pages.count(11, 10) == 2;
        System.out.println("pages: ok");
    }
}
