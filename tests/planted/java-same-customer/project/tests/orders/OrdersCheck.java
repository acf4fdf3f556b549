package orders;

public class OrdersCheck {
    public static void main(String[] args) {
        Orders orders = new Orders();
        orders.add("a", 1L);
        assert orders.count() == 1;
    }
}
