"""What is known of a cloud: frozen values, and the store of the last good ones.

Takes what ``onapp`` has decoded and ``polling`` hands over; gives copies that do not
change while they are judged and written.
"""
