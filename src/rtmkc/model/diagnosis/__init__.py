"""What is printed beside every fit: may the weights be believed?"""
