"""A shop: its products, customers and orders, and the exports of them."""
