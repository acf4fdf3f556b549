package orders;

import java.util.ArrayList;
import java.util.List;

/** The orders of a day, in the order in which they came. */
public class Orders {
    private final List<String> ids = new ArrayList<>();
    private final List<Long> customers = new ArrayList<>();

    public void add(String id, Long customer) {
        if (customer == null) {
            throw new IllegalArgumentException("an order has a customer");
        }
        ids.add(id);
        customers.add(customer);
    }

    public int count() {
        return ids.size();
    }
}
